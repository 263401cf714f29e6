"""The data report as a page for the writer: one file, no script, nothing loaded from anywhere."""

from stories.report.page import to_html

__all__ = ["to_html"]
