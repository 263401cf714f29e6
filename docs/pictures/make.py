"""Makes the pictures of the data report: of the sample stories, and of a folder with all that can be wrong.

python -m docs.pictures.make
"""

import io
import struct
import tempfile
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console

from cli.folder_check import check_folder, read_settings
from stories.report.data_report import DataReport
from stories.report.report_page import report_to_html
from tests.browser.chromium import CHROMIUM_FLAGS, find_chromium

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
SAMPLES = CHECKOUT / "sample_stories"

_DESKTOP: dict[str, Any] = {"viewport": {"width": 860, "height": 900}, "color_scheme": "light"}
_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}


def main() -> None:
    """Write the pictures beside this file."""
    settings = read_settings(CHECKOUT, "", "")
    quiet = Console(quiet=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary) / "everything I ever wrote"
        for name, content in bad_folder().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        good, bad = check_folder(SAMPLES, settings, quiet), check_folder(folder, settings, quiet)
        _picture(browser, good, "report-sample-stories.png", _DESKTOP)
        _picture(browser, bad, "report-bad-folder.png", _DESKTOP, until="How long the stories are")
        _picture(browser, bad, "report-tidied.png", _DESKTOP, only="What was tidied up")
        _picture(browser, good, "report-phone.png", _PHONE, until="What happened to each file")
        browser.close()


def _picture(
    browser: Browser,
    report: DataReport,
    name: str,
    screen: Mapping[str, Any],
    *,
    until: str = "",
    only: str = "",
) -> None:
    """Take one picture: of the whole page, of what is above a section, or of one section."""
    context = browser.new_context(**screen)
    page = context.new_page()
    page.set_content(report_to_html(report))
    if only:
        page.locator("section", has_text=only).screenshot(path=HERE / name)
    elif until:
        section = page.locator("section", has_text=until).bounding_box()
        assert section is not None, f"The report has no section {until!r}."  # noqa: S101
        clip: Any = {"x": 0, "y": 0, "width": screen["viewport"]["width"], "height": section["y"]}
        page.screenshot(path=HERE / name, full_page=True, clip=clip)
    else:
        page.screenshot(path=HERE / name, full_page=True)
    context.close()
    print(f"{name}: {(HERE / name).stat().st_size // 1024} KB")


def bad_folder() -> dict[str, bytes]:
    """Files as they lie about on a writer's disk, by name."""
    rooster, egg, hat, page_forty = (
        _sample(name)
        for name in ("the-tin-rooster", "the-bishops-egg", "the-harbourmasters-hat", "page-forty")
    )
    second_draft = hat.replace(" the harbour", " the old harbour").replace(" said", " answered")
    return {
        "the tin rooster.txt": rooster.encode(),
        "the tin rooster (copy).txt": rooster.encode(),
        "the harbourmaster's hat.txt": hat.encode(),
        "drafts/the harbourmaster's hat v2.txt": second_draft.encode(),
        "from the old computer.txt": _as_garbled(egg).encode(),
        "page forty, typescript.txt": _typescript(page_forty).encode(),
        "backup 2019.zip": _zip(
            {"lamp.txt": _sample("the-lamp-that-would-not-go-out").encode(), "me.jpg": _JPEG}
        ),
        "backup 2014.zip": _locked(_zip({"novel.txt": rooster.encode()})),
        "novel.doc": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 2000,
        "grandmother's letters (scan).pdf": _scan(),
        "prompts.jsonl": b'{"prompt": "Tell me of the eel.", "completion": "Nobody owed it more than Kit."}'
        b'\n{"prompt": "And the goo',
        "ideas.txt": b"A goose. Refuses to pay.",
        "untitled.txt": b"",
        "<b>NEW & final</b>.txt": b"",
        "cover.jpg": _JPEG,
        "holiday/IMG_2041.jpg": _JPEG,
        "holiday/IMG_2042.jpg": _JPEG,
        "holiday/reading it aloud.mp3": b"ID3\x03\x00\x00\x00\x00\x00\x21" + b"\xff\xfb\x90\x00" * 200,
    }


_JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256)) * 4


def _sample(name: str) -> str:
    """The first half of a sample story."""
    paragraphs = (SAMPLES / f"{name}.txt").read_text(encoding="utf-8").split("\n\n")
    return "\n\n".join(paragraphs[: len(paragraphs) // 2])


def _as_garbled(text: str) -> str:
    """Save as UTF-8, open as Windows does, save again."""
    curly = text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").replace(
        '"', "\N{LEFT DOUBLE QUOTATION MARK}"
    )
    return curly.encode().decode("cp1252", errors="replace")


def _typescript(text: str) -> str:
    """Hard lines of 62 letters, words divided, a running head and a number on every page."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [*_divided(textwrap.wrap(paragraph, 62)), ""]
    pages = [lines[start : start + 30] for start in range(0, len(lines), 30)]
    return "\f".join(
        "\n".join(["A. WRITER            PAGE FORTY", "", *page, "", f"{number}"])
        for number, page in enumerate(pages, start=1)
    )


def _divided(lines: list[str]) -> list[str]:
    """Cut the first word of every third line in two, as a typewriter would."""
    divided = list(lines)
    for number in range(1, len(divided), 3):
        word, _, rest = divided[number].partition(" ")
        if len(word) > 7 and word.isalpha():
            divided[number - 1] += f" {word[:4]}-"
            divided[number] = f"{word[4:]} {rest}"
    return divided


def _zip(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _locked(archive: bytes) -> bytes:
    """Set the mark of a password in both headers of an archive's one file."""
    locked = bytearray(archive)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = locked.index(signature) + place
        locked[at : at + 2] = struct.pack("<H", 1)
    return bytes(locked)


def _scan() -> bytes:
    """A PDF of one page on which no letter stands."""
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
    )
    body = "%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    return (
        f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    ).encode()


if __name__ == "__main__":
    main()
