"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from golden import ABSENT, FOLDER, Golden

from codiff.credentials.identity import FOLDER_VARIABLE


def pytest_configure() -> None:
    """Shells let background jobs and their children ignore SIGINT, which the tests of interruption need."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests sign with an identity of their own, not with that of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        patch.delenv(FOLDER_VARIABLE, raising=False)
        yield


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """The recorded set, converted; skips where it is absent."""
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    return Golden(tmp_path_factory.mktemp("golden"))
