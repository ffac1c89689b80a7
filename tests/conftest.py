"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Shells let background jobs and their children ignore SIGINT, which the tests of interruption need."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
