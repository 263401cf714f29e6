"""The other side of `prepare`: markitdown for documents, or a script with `datasets` for plain files.

It runs in an environment of its own, without Storyloom and its packages. The last line is JSON.
"""

import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

_WRAPPED = re.compile(r"(?<=[^\n])\n(?=[^\n])")
_SPACES = re.compile(r"[ \t]+")
_BREAKS = re.compile(r"\n{3,}")


def with_markitdown(paths: list[Path], warm_up: Path) -> tuple[float, int]:
    """Convert each file: extraction without cleaning."""
    from markitdown import MarkItDown  # noqa: PLC0415 - only here

    converter = MarkItDown()
    converter.convert(str(warm_up))
    begin = time.perf_counter()
    characters = sum(len(converter.convert(str(path)).text_content) for path in paths)
    return time.perf_counter() - begin, characters


def with_datasets(paths: list[Path], warm_up: Path) -> tuple[float, int]:
    """Load, repair, unwrap and normalize the texts, drop the shortest, and write JSON Lines."""
    import datasets  # noqa: PLC0415 - only here
    import ftfy  # noqa: PLC0415 - only here

    datasets.disable_progress_bars()

    def clean(row: dict[str, str]) -> dict[str, str]:
        text = ftfy.fix_text(row["text"])
        return {"text": _BREAKS.sub("\n\n", _SPACES.sub(" ", _WRAPPED.sub(" ", text))).strip()}

    def prepare(files: list[Path], folder: str) -> int:
        names = [str(path) for path in files]
        if files[0].suffix == ".jsonl":
            rows = datasets.load_dataset("json", data_files=names, split="train", cache_dir=folder)
        else:
            rows = datasets.load_dataset(
                "text", data_files=names, sample_by="document", split="train", cache_dir=folder
            )
        cleaned = rows.map(clean).filter(lambda row: len(row["text"].split()) >= 10)
        cleaned.to_json(f"{folder}/cleaned.jsonl")
        return sum(len(text) for text in cleaned["text"])

    with tempfile.TemporaryDirectory(dir=paths[0].parent.parent) as folder:
        prepare([warm_up], folder)
    with tempfile.TemporaryDirectory(dir=paths[0].parent.parent) as folder:
        begin = time.perf_counter()
        characters = prepare(paths, folder)
        return time.perf_counter() - begin, characters


def main() -> None:
    """Measure, and print seconds and peak memory."""
    task, folder, warm_up = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    run = with_markitdown if task == "markitdown" else with_datasets
    seconds, characters = run(paths, warm_up)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "characters": characters}))


if __name__ == "__main__":
    main()
