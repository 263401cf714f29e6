"""What all tests share: one browser, for the page and for the journey; and patience on a busy machine."""

from hypothesis import HealthCheck, settings

from tests.browser.chromium import chromium, context, page

__all__ = ["chromium", "context", "page"]

# The groups of `make test` share two processors: that an example took long says nothing of what it tests.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
