"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest
from golden import ABSENT, FOLDER, Golden


def pytest_configure() -> None:
    """Shells let background jobs and their children ignore SIGINT, which the tests of interruption need."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """The recorded set, converted; skips where it is absent."""
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    return Golden(tmp_path_factory.mktemp("golden"))
