"""The browser of the tests of pages."""

from tests.report.conftest import browser  # noqa: F401 - a fixture, which is asked for by name
