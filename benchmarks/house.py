"""The code base in numbers, and the house rules that a machine can check (`make house`).

    python -m benchmarks.house              files, median and longest of each room; circles; upward imports
    python -m benchmarks.house --shrink     take out of the list of exceptions what no longer needs one

The rules: no two classes or public functions of one name, no file of more than 400 lines, no private words.
What breaks a rule is listed in `house_exceptions.json` with its number and a reason, and that list can only
shrink. Not every entry of the style guide's table can be matched: `Form`, `Transform`, `draw` and "where" are
also the right words for other things.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any, TypedDict

CHECKOUT = Path(__file__).resolve().parent.parent
EXCEPTIONS = Path(__file__).with_name("house_exceptions.json")
LAYERS = (
    ("cli",),
    ("lambda", "local", "stacks"),
    ("contracts",),
    ("stories", "training_code"),
    ("price_list",),
)
"""The rooms with Python code that is shipped, from top to bottom: a room may import from those below it."""
BELOW_FUNCTIONS = ("shared", "contracts", "stories", "price_list")
"""What a function folder of `lambda/` may import besides itself, and all that `shared` may import."""
ROOMS = (*(room for layer in LAYERS for room in layer), "web")
OTHER_PAGES = ("local/aws/README.md", "benchmarks/README.md", "web/index.html")
"""Pages for people besides those at the root, in `docs/` and in `docs/decisions/`."""
LONGEST_FILE_LINES = 400

SHARED_NAMES = {
    "main": "the entry point of a program",
    "handler": "the entry point of a Lambda function",
    "get": "reads one record by its id; the module says of what, as in `versions.get`",
    "list_all": "reads all records of a kind; the module says of what",
    "read": "every format reader has one; elsewhere the module says what it reads",
    "install": "each plug-in of the AWS stand-in has one",
}
"""Names that many files may define, with the reason: they are roles, and their file says whose."""

PRIVATE_WORDS = (
    # "where" for "if"
    r"\bwhere (?:there (?:is|are|was|were)|none|nobody|no one|nothing|neither)\b",
    r"\b(?:none|false|true|nothing|empty) where\b",
    # the left column of STYLE's table
    r"\bahead\(|\bhandover\b|\btell_once\b|\bstaying_with\b|\bpass_over\b|\breturned_on_failure\b",
    r"\bkept_at_hand\b|\bundeployable\b|\bnote_decider\b|\bowe_(?:one_more|deployment)\b",
    r"\b(?:take|free)_place\b|\bforget_the_rest\b|\bversion_decided\b|\bquiet_timer\b|\bkeeper\b",
    r"\b(?:seen_from|movable_by|explained_to|answered_by|searches_seen_by|managed_by|asked_by)\b",
    r"\b_equip_\w+|\bpriced_for\b|\b_ALL_ELSE_SECONDS\b|\bNumerics\b|\bkeep_freed_memory\b",
    r"\b_Foreign\b|\b_put_down_to_the_title\b|\bAnswerBroke\b|\bMayAsk\b|\bMayChat\b|\bAsker\b",
    r"\bnobody can be asked\b|\bare what they are\b|\bit is no instance type\b|\bis there already\b",
    r"(?-i:\bTicket\b)|\blimits\.admit\b|\bmeter\.(?:look|end)\b|\.hear\(|\.bears\(|\.agree\(|\.all_of\(",
    r"(?-i:\bTeam\b|\bPasses\(|\bSurprise\b|\bPlaces\b|\bPatience\b)|\btaught\b|\.going\b|\b_let_\w+",
    r"\bits call was delivered twice\b|\ba run is going\b|\byou today\b|\bmay ask \S+ times\b",
    r"\bwhere (?:an?|the|its?)\b[^.,;:|]{0,50}\bit is none\b",
    r"\bforesees\b|\bprepare the lessons\b|\bbring it to the page\b|\bnot well\b|\bsay yes to\b",
)
_PRIVATE = re.compile("|".join(f"(?:{pattern})" for pattern in PRIVATE_WORDS), re.IGNORECASE)
_ASSET_ENDINGS = (".css", ".jinja", ".js")
_READ_ENDINGS = (*_ASSET_ENDINGS, ".html", ".md", ".py", ".ts", ".tsx")
_TYPESCRIPT_IMPORT = re.compile(r"""from\s+["'](\.[^"']*)["']""")


@dataclass(frozen=True)
class RoomSize:
    """How much code a room has."""

    room: str
    files: int
    lines: int
    median: float
    longest: int
    longest_file: str


class House:
    """The source files of a checkout that the rules are about.

    `files` is the shipped code in the rooms, `root_modules` the modules beside the rooms, `assets` the
    styles, templates and scripts, and `pages` what people read.
    """

    def __init__(self, checkout: Path = CHECKOUT) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        texts = {
            path: (checkout / path).read_text(encoding="utf-8")
            for path in listed
            if path.endswith(_READ_ENDINGS) and (checkout / path).exists()
        }
        self.pages = {path: text for path, text in texts.items() if _is_page(path)}
        self.files = {path: text for path, text in texts.items() if _is_shipped_code(path)}
        self.root_modules = {
            path: text for path, text in texts.items() if path.endswith(".py") and "/" not in path
        }
        self.assets = {
            path: text
            for path, text in texts.items()
            if path.endswith(_ASSET_ENDINGS) and _room(path) in ROOMS
        }

    def sizes(self) -> list[RoomSize]:
        """Return the size of each room."""
        sizes = []
        for room in ROOMS:
            lines = {path: text.count("\n") for path, text in self.files.items() if _room(path) == room}
            longest = max(lines, key=lambda path: lines[path])
            sizes.append(
                RoomSize(
                    room, len(lines), sum(lines.values()), median(lines.values()), lines[longest], longest
                )
            )
        return sizes

    def long_files(self) -> dict[str, int]:
        """Return the files that are too long, with their lines."""
        code = self.files | self.root_modules | self.assets
        lines = {path: text.count("\n") for path, text in code.items()}
        return {path: count for path, count in sorted(lines.items()) if count > LONGEST_FILE_LINES}

    def repeated_names(self) -> dict[str, int]:
        """Return the classes and public functions that several files define, with the number of files."""
        defined = Counter(
            node.name
            for path, text in (self.files | self.root_modules).items()
            if path.endswith(".py")
            for node in ast.parse(text).body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and not node.name.startswith("_")
        )
        return {
            name: count for name, count in sorted(defined.items()) if count > 1 and name not in SHARED_NAMES
        }

    def private_words(self) -> dict[str, int]:
        """Return the number of private words in each room, root module and kind of page for people."""
        found = Counter[str]()
        for path, text in (self.files | self.root_modules | self.assets | self.pages).items():
            if count := len(_PRIVATE.findall(text)):
                found[_page_kind(path) if path in self.pages else _room(path)] += count
        return dict(sorted(found.items()))

    def exceptions(self) -> dict[str, dict[str, int]]:
        """Return what breaks each rule, with its number, as the list of exceptions has them."""
        return {
            "repeated_names": self.repeated_names(),
            "long_files": self.long_files(),
            "private_words": self.private_words(),
        }

    def upward_imports(self) -> list[str]:
        """Return the imports from a room into one that does not stand below it."""
        level = {room: number for number, layer in enumerate(LAYERS) for room in layer}
        return [
            f"{source} imports {target}"
            for source, targets in self._imports().items()
            for target in sorted(targets)
            if _room(source) != _room(target) and level[_room(source)] >= level[_room(target)]
        ]

    def function_imports(self) -> list[str]:
        """Return the imports that tie a function to another one, or the command line to a function.

        A folder of `lambda/` imports itself and `BELOW_FUNCTIONS`, so that each function can be deployed
        alone. Nothing outside `lambda/` imports anything in it.
        """
        return [
            f"{source} imports {target}"
            for source, targets in self._imports().items()
            for target in sorted(targets)
            if _package(source) != _package(target)
            and (
                (_room(source) == "lambda" and _package(target) not in BELOW_FUNCTIONS)
                or (_room(source) != "lambda" and _room(target) == "lambda")
            )
        ]

    def circles(self) -> list[list[str]]:
        """Return the groups of files that import one another in a circle."""
        imports = self._imports()
        reached = {path: _reachable(imports, path) for path in imports}
        groups = {
            tuple(sorted({path} | {other for other in reached[path] if path in reached[other]}))
            for path in imports
            if path in reached[path]
        }
        return [list(group) for group in sorted(groups)]

    def _imports(self) -> dict[str, set[str]]:
        """Return what each file imports of the others."""
        modules = {_module(path): path for path in self.files if path.endswith(".py")}
        imports: dict[str, set[str]] = defaultdict(set)
        for path, text in self.files.items():
            if path.endswith(".py"):
                names = _imported_names(ast.parse(text), modules)
                imports[path] = {modules[name] for name in names if name in modules} - {path}
            else:
                imports[path] = set(self._typescript_imports(path, text))
        return imports

    def _typescript_imports(self, path: str, text: str) -> Iterator[str]:
        for relative in _TYPESCRIPT_IMPORT.findall(text):
            parts: list[str] = []
            for part in (PurePosixPath(path).parent / relative).parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            target = "/".join(parts)
            yield from (found for end in ("", ".ts", ".tsx") if (found := target + end) in self.files)


def _is_shipped_code(path: str) -> bool:
    if path.startswith("web/src/"):
        return path.endswith((".ts", ".tsx")) and not path.endswith("/openapi.ts") and ".test." not in path
    return path.endswith(".py") and path.partition("/")[0] in ROOMS


def _is_page(path: str) -> bool:
    return path in OTHER_PAGES or (
        path.endswith(".md") and "/" not in path.removeprefix("docs/").removeprefix("decisions/")
    )


def _page_kind(path: str) -> str:
    return path if path == "CHANGELOG.md" else "decisions" if path.startswith("docs/decisions/") else "pages"


def _room(path: str) -> str:
    return path.partition("/")[0]


def _package(path: str) -> str:
    """Return the top package of a file: its room, or its folder in `lambda/`."""
    return path.removeprefix("lambda/").partition("/")[0]


def _module(path: str) -> str:
    # These two folders are the root of imports of what is shipped from them.
    name = (
        path.removeprefix("lambda/")
        .removeprefix("training_code/")
        .removesuffix(".py")
        .removesuffix("/__init__")
    )
    return name.replace("/", ".")


def _imported_names(tree: ast.AST, modules: Collection[str]) -> Iterator[str]:
    """Yield the modules that a file imports anywhere, inside functions and for type checking too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


def _reachable(imports: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += imports.get(path, ())
    return reached


class ListedException(TypedDict):
    """One entry of the list of exceptions."""

    count: int
    reason: str


Listed = Mapping[str, Mapping[str, ListedException]]
"""The list of exceptions: rule by rule, by name, file or room."""


def listed_exceptions() -> Listed:
    """Read the list of exceptions."""
    listed: Listed = json.loads(EXCEPTIONS.read_text(encoding="utf-8"))
    return listed


def new_exceptions(found: Mapping[str, Mapping[str, int]], listed: Listed) -> list[str]:
    """Return a message for each rule that is broken more often than the list of exceptions allows."""
    allowed = {
        rule: {name: entry["count"] for name, entry in entries.items()} for rule, entries in listed.items()
    }
    return [
        f"{rule}: {name} is {count}, and the list of exceptions allows {allowed[rule].get(name, 0)}"
        for rule, names in found.items()
        for name, count in names.items()
        if count > allowed[rule].get(name, 0)
    ]


def shrunk(listed: Listed, found: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, ListedException]]:
    """Return the list of exceptions without what is no longer needed; nothing is added or raised."""
    return {
        rule: {
            name: {"count": min(entry["count"], found[rule][name]), "reason": entry["reason"]}
            for name, entry in entries.items()
            if name in found[rule]
        }
        for rule, entries in listed.items()
    }


def numbers(house: House) -> dict[str, Any]:
    """Return all numbers of a checkout."""
    exceptions = house.exceptions()
    return {
        "rooms": [asdict(size) for size in house.sizes()],
        "circles": house.circles(),
        "upward_imports": house.upward_imports(),
        "function_imports": house.function_imports(),
        "repeated_names": len(exceptions["repeated_names"]),
        "long_files": len(exceptions["long_files"]),
        "private_words": sum(exceptions["private_words"].values()),
    }


def main() -> None:
    """Print the numbers, or shrink the list of exceptions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkout", nargs="?", type=Path, default=CHECKOUT, help="another checkout to measure"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--shrink", action="store_true", help="shrink the list of exceptions")
    arguments = parser.parse_args()
    house = House(arguments.checkout)
    if arguments.shrink:
        shorter = shrunk(listed_exceptions(), house.exceptions())
        EXCEPTIONS.write_text(json.dumps(shorter, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return
    measured = numbers(house)
    if arguments.json:
        sys.stdout.write(json.dumps(measured) + "\n")
        return
    lines = [f"{'room':15}{'files':>7}{'lines':>8}{'median':>8}{'longest':>9}"]
    for room in measured["rooms"]:
        lines.append(
            f"{room['room']:15}{room['files']:>7}{room['lines']:>8,}{room['median']:>8.0f}"
            f"{room['longest']:>9}  {room['longest_file']}"
        )
    lines.append("")
    for title in ("circles", "upward_imports", "function_imports"):
        lines.append(f"{title.replace('_', ' ')}: {len(measured[title])}")
        lines += [
            f"  {found if isinstance(found, str) else ' <-> '.join(found)}" for found in measured[title]
        ]
    for title in ("repeated_names", "long_files", "private_words"):
        lines.append(f"{title.replace('_', ' ')}: {measured[title]}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
