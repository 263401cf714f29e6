"""What all tests share: one browser, for the page's own tests and for the journey's."""

from tests.browser.chromium import chromium, context, page

__all__ = ["chromium", "context", "page"]
