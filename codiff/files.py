"""Writing files so that nothing half-written is ever left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codiff.errors import InputError


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a folder, renamed to `path` on success and removed on failure.

    A folder that stands at `path` already is replaced in two renames, so that one of the two is always whole.

    Raises:
        InputError: the place cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        _replace(temporary, path)
    except OSError as error:
        raise InputError(_explain(path, error)) from error
    finally:
        _remove(temporary)


def _flush(path: Path) -> None:
    for file in [path] if path.is_file() else [child for child in path.rglob("*") if child.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
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
    temporary.rename(path)
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        home = next(parent for parent in path.absolute().parents if parent.exists())
        free = shutil.disk_usage(home).free / 2**20
        return f"cannot write {path}: {error.strerror}; {free:.0f} MiB are free. Make room or choose another folder."
    return f"cannot write {path}: {error.strerror or error}. Check the folder and its permissions, or choose another."


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with written_aside(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
