"""The file formats that stories are read from, for messages and pages; importing it loads no reader."""

FORMATS = {
    "text": (".txt", ".text"),
    "Markdown": (".md", ".markdown"),
    "Word": (".docx", ".docm", ".dotx", ".dotm"),
    "OpenDocument": (".odt", ".ott"),
    "RTF": (".rtf",),
    "EPUB": (".epub",),
    "PDF": (".pdf",),
    "HTML": (".html", ".htm", ".xhtml"),
    "CSV": (".csv",),
    "TSV": (".tsv", ".tab"),
    "JSON": (".json",),
    "JSON Lines": (".jsonl", ".ndjson"),
    "zip": (".zip",),
}
"""Each format with the endings of its files, the usual one first. `make openapi` writes it for the page."""


def usual_endings() -> str:
    """Return the usual ending of each format as a list in words: `.txt, .md, … or .zip`."""
    *others, last = (endings[0] for endings in FORMATS.values())
    return f"{', '.join(others)} or {last}"
