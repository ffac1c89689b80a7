"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Shells start background jobs with SIGINT ignored, and children inherit that: the tests of interruption need it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
