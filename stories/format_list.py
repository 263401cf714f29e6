"""The file formats that stories are read from, for messages and pages; importing it loads no reader."""

FORMATS = {
    "plain text": (".txt", ".text"),
    "Markdown": (".md", ".markdown"),
    "Word": (".docx", ".docm", ".dotx", ".dotm"),
    "EPUB": (".epub",),
    "PDF": (".pdf",),
    "HTML": (".html", ".htm", ".xhtml"),
    "RTF": (".rtf",),
    "OpenDocument": (".odt", ".ott"),
    "comma-separated tables": (".csv",),
    "tab-separated tables": (".tsv", ".tab"),
    "JSON": (".json",),
    "JSON Lines": (".jsonl", ".ndjson"),
    "a zip of any of them": (".zip",),
}
"""Each format with the endings of its files, the usual one first."""


def usual_endings() -> str:
    """Return the usual ending of each format as a list in words: `.txt, .md, … or .zip`."""
    *others, last = (endings[0] for endings in FORMATS.values())
    return f"{', '.join(others)} or {last}"
