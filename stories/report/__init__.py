"""The data report as a page for the writer: one file without scripts that loads nothing."""

from stories.report.page import report_to_html

__all__ = ["report_to_html"]
