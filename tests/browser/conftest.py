"""The browser of the tests here."""

from tests.browser.page import browser

__all__ = ["browser"]
