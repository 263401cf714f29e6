"""Bad and odd text files, by encoding, content or name."""

# ruff: noqa: RUF001 - the tests need the unusual characters

from tests.unit.stories.bad_files.kind import STORY, always, encoded, noise, refused, used, utf8

JAPANESE = (
    "むかしむかし、あるところに、おじいさんとおばあさんが住んでいました。\n\n　おばあさんは川へ洗濯に。\n\n"
)
CHINESE = "从前有一座山,山里有座庙,庙里有一个老和尚在给小和尚讲故事。\n\n有一天,小和尚下山去挑水。\n\n"
KOREAN = (
    "옛날 옛적에 호랑이가 담배 피우던 시절, 한 마을에 할머니가 살았습니다.\n\n할머니는 떡을 팔았습니다.\n\n"
)
RUSSIAN = "Жили-были старик со старухой у самого синего моря; они жили в ветхой землянке тридцать лет.\n\n"
HEBREW = "היה היה פעם מלך זקן שגר בארמון גדול על ראש ההר, ולו שלוש בנות יפות וחכמות.\n\n"
ENGLISH = "“It’s a café,” she said — and the naïve old man, who hadn’t spoken since Tuesday, agreed…\n\n"
_RECIPES = """Plum Soup

Serves 4

- 500 g plums
- 1 l water
- 2 tbsp sugar

1. Wash the plums and take out the stones.
2. Boil them in the water until they fall apart, and sweeten them.

Nettle Bread

- 300 g flour
- 1 handful of nettles

1. Put on gloves before anything else, and knead the flour with the nettles.
2. Bake it for an hour and a quarter, and let nobody near it.
"""
_POEM = "\n\n".join(
    "The wind went up the hill one day\nAnd took the widow's wash away,\n"
    f"And number {number} of her socks\nWas found by sailors on the rocks."
    for number in range(1, 9)
)
_CODE = "def tell(story):\n    if not story:\n        return\n    return [word for word in story.split()]\n\n"

TEXTS = [
    refused("empty file", "empty.txt", always(b""), "empty"),
    refused("white space only", "blank.txt", always(b" \r\n\t\n"), "empty"),
    refused("byte order mark only", "mark.txt", always(b"\xef\xbb\xbf"), "empty"),
    refused("zero bytes only", "zeros.txt", always(bytes(5000)), "binary"),
    refused("too short", "short.txt", always(b"Once upon a time."), "only 4 words"),
    used("UTF-8 with mark", "a.txt", encoded("utf-8-sig", ENGLISH), holds="naïve"),
    used("UTF-16 with mark", "a.txt", encoded("utf-16", ENGLISH), holds="naïve"),
    used("UTF-16 little-endian without mark", "a.txt", encoded("utf-16-le", ENGLISH), holds="naïve"),
    used("UTF-16 big-endian without mark", "a.txt", encoded("utf-16-be", ENGLISH), holds="naïve"),
    used("Japanese UTF-16 without mark", "a.txt", encoded("utf-16-le", JAPANESE), holds="おじいさん"),
    used("UTF-32 without mark", "a.txt", encoded("utf-32-le", RUSSIAN), holds="старик"),
    used("Shift-JIS", "a.txt", encoded("shift_jis", JAPANESE), holds="おじいさん"),
    used("EUC-JP", "a.txt", encoded("euc_jp", JAPANESE), holds="おじいさん"),
    used("ISO-2022-JP", "a.txt", encoded("iso2022_jp", JAPANESE), holds="おじいさん"),
    used("GB18030", "a.txt", encoded("gb18030", CHINESE), holds="老和尚"),
    used("EUC-KR", "a.txt", encoded("euc_kr", KOREAN), holds="호랑이"),
    used("Windows-1251", "a.txt", encoded("cp1251", RUSSIAN), holds="старик"),
    used("Windows-1255, right to left", "a.txt", encoded("cp1255", HEBREW), holds="מלך"),
    used("lone surrogates in UTF-8", "a.txt", utf8(f"\ud83d{STORY}\ude00"), holds=STORY[-40:]),
    used("emoji as surrogates in UTF-8", "a.txt", utf8(f"{STORY} \ud83d\ude00 so."), holds="😀 so."),
    used(
        "lone surrogates in UTF-16", "a.txt", encoded("utf-16-le", f"{STORY}\n\ud83d\n", 1), holds=STORY[-40:]
    ),
    used("NUL bytes here and there", "a.txt", utf8(STORY.replace(". ", ".\0 ")), holds=STORY[-40:]),
    used("padded with NUL bytes", "a.txt", lambda: STORY.encode() + bytes(512), holds=STORY[-40:]),
    used("two encodings in one file", "a.txt", lambda: (ENGLISH * 9).encode() + b"caf\xe9.", holds="café."),
    used("cut within a character", "a.txt", lambda: f"{STORY} café".encode()[:-1], holds="caf"),
    used("UTF-16 cut within a character", "a.txt", lambda: STORY.encode("utf-16")[:-1], holds="Ve men"),
    used("line ends of old Macs", "a.txt", lambda: STORY.replace("\n", "\r").encode(), holds=STORY[-40:]),
    refused(
        "control characters", "a.txt", lambda: b"".join(b"%cword" % (n % 8 + 1) for n in range(200)), "binary"
    ),
    refused("random bytes", "a.txt", lambda: noise(20_000), "binary"),
    used(
        "one line of 10 MB", "line.txt", lambda: (STORY.replace("\n", " ") + " ").encode() * 2400, stories=2
    ),
]
CONTENTS = [
    used("a recipe book", "recipes.txt", utf8(_RECIPES), holds="- 500 g plums"),
    used("a poem", "poem.txt", utf8(_POEM), holds="one day\nAnd took"),
    used("source code as text", "code.txt", utf8(_CODE * 20), holds="    return"),
    refused("source code", "tell.py", utf8(_CODE * 20), "end in .py"),
    used("three languages", "three.txt", utf8(ENGLISH * 3 + RUSSIAN * 3 + JAPANESE * 3), holds="старик"),
    refused("emoji only", "emoji.txt", utf8("😀🎉" * 9), "words"),
    used("combining marks without end", "zalgo.txt", utf8(STORY.replace("a", "a" + "\u0301\u0316" * 40))),
    used("right-to-left text", "hebrew.txt", utf8(HEBREW * 9), holds="מלך"),
    refused("rules and dashes only", "rules.txt", utf8("-----\n\n=====\n\n" * 50), "words"),
]
NAMES = [
    used("emoji in the name", "the 🐟 and 👩‍👩‍👧.txt", utf8(STORY)),
    used("right-to-left override in the name", "\u202etxt.yrots.txt", utf8(STORY)),
    used("name of 255 bytes", f"{'ä' * 125}x.txt", utf8(STORY)),
    used("line break in the name", "two\nlines.txt", utf8(STORY)),
    used("no ending", "story", utf8(STORY)),
    used("a dot that begins no ending", "Mr. Smith", utf8(STORY)),
    used("ending in capitals", "STORY.TXT", utf8(STORY)),
    refused("hidden file", ".DS_Store", always(b"\0\0\0\1Bud1"), "operating system"),
    refused(
        "lock file of an office program", "folder/~$draft.docx", always(b"\x05Wanda"), "operating system"
    ),
]
