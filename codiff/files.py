"""Writing files so that nothing half-written is ever left behind."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from codiff.errors import InputError

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.\d+\.(?P<kind>old|partial)")


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a folder, renamed to `path` on success and removed on failure.

    A folder that stands at `path` already is replaced in two renames, so that one of the two is always whole; see
    `recover` for what a process that is killed in between leaves.

    Raises:
        InputError: the place cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)  # a killed process had the same number
        yield temporary
        _flush(temporary)
        _replace(temporary, path)
    except (OSError, SafetensorError) as error:
        known = _operating_system_error(error)
        if known is None:
            raise
        written = _bytes_in(temporary)
        _remove(temporary)
        raise InputError(_explain(path, known, written)) from error
    finally:
        _remove(temporary)


@contextmanager
def locked(folder: Path, lock: Path, busy: Callable[[], str] | None = None) -> Iterator[None]:
    """Hold a lock file, so that only one process at a time writes into a folder.

    Args:
        folder: what messages name.
        lock: the file; its folder is made where it is missing.
        busy: what to tell where another process holds it; None to wait until it is free.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    held = FileLock(lock, timeout=-1 if busy is None else 0)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout as error:
        assert busy is not None
        raise InputError(busy()) from error
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror or error}. Choose another folder.") from error
    try:
        yield
    finally:
        held.release()


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Only one process writes into a folder; what a killed one left half done anywhere in it is put in order.

    Raises:
        InputError: another process writes there, named with the time since when; or nothing can be written there.
    """
    owner = folder / "owner.json"

    def busy() -> str:
        return f"{folder} is in use by {_owner(owner)}; wait for it or choose another folder"

    with locked(folder, folder / ".lock", busy):
        try:
            for home in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
                recover(home)
            write_json(owner, {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
            yield
        finally:
            owner.unlink(missing_ok=True)


def _owner(path: Path) -> str:
    try:
        known = json.loads(path.read_text())
        return f"process {known['pid']} since {known['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is starting or ending just now
        return "another process"


def recover(folder: str | Path, name: str | None = None) -> None:
    """Mend what killed writers left in a folder: a file or folder that was being replaced returns, unfinished ones go.

    Call it only where nobody else writes meanwhile. With a name, only what was to become `folder/name` is looked at.
    """
    folder = Path(folder)
    found = ((entry, _LEFTOVER.fullmatch(entry.name)) for entry in folder.iterdir()) if folder.is_dir() else ()
    for leftover, match in sorted((entry, match) for entry, match in found if match is not None):
        if name not in (None, match["name"]):
            continue
        path = folder / match["name"]
        if match["kind"] == "old" and not path.exists():
            leftover.rename(path)
        else:
            _remove(leftover)


def _flush(path: Path) -> None:
    """Bring a file, or a folder with all that is in it, from the system's memory to the disk."""
    for entry in (path, *(path.rglob("*") if path.is_dir() else ())):
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, path: Path) -> None:
    if not path.is_dir():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.rename(old)
    try:
        temporary.rename(path)
    except OSError:
        old.rename(path)
        raise
    old.rename(temporary)  # what is named "old" is always whole; the caller removes what is temporary


def _remove(path: Path) -> None:
    with suppress(OSError):  # whatever led here is told already
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _bytes_in(path: Path) -> int:
    with suppress(OSError):
        return sum(entry.stat().st_size for entry in (path, *path.rglob("*")) if entry.is_file())
    return 0


def _operating_system_error(error: Exception) -> OSError | None:
    """The error itself, or the one that safetensors tells of in its message; None where there is none."""
    if isinstance(error, OSError):
        return error
    told = re.search(r"os error (\d+)", str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else None


def _explain(path: Path, error: OSError, written: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        home = next(parent for parent in path.absolute().parents if parent.exists())
        free = shutil.disk_usage(home).free
        return (
            f"cannot write {path}: {error.strerror} after {_readable(written)}; {_readable(free)} are free. "
            "Make room or choose another folder."
        )
    return f"cannot write {path}: {error.strerror or error}. Check the folder and its permissions, or choose another."


def _readable(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with written_aside(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
