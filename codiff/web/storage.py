"""Files of the visitors: one private folder a session, all of them gone at the end."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from codiff.cli.outputs import slug
from codiff.web.field_error import RUN, FieldError
from codiff.web.limits import Limits
from codiff.web.room import Room

_PREFIX, _LOCK = "codiff-web-", ".lock"
_STARTING = 60.0  # seconds that a server may take between making its folder and locking it


class SessionFolder:
    """Where the files of one visitor lie.

    Args:
        path: the folder, of mode 0700.
        room: that the files of all visitors share.

    Attributes:
        path: the folder.
        name: its name, which the server derived.
    """

    def __init__(self, path: Path, room: Room) -> None:
        self.path = path
        self.name = path.name
        self._room = room
        self._numbers = itertools.count(1)

    def new_folder(self, kind: str = "") -> Path:
        """A fresh, empty folder; `kind` is for people.

        Raises:
            FieldError: the files of all visitors leave no room for more.
        """
        if not self._room.is_left:
            raise FieldError(RUN, "the server has no room for more files just now; try again later")
        name = "-".join(filter(None, (slug(kind), f"{next(self._numbers):04d}", secrets.token_hex(4))))
        folder = self.path / name
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def new(self, name: str) -> Path:
        """The path of a file that does not exist yet, in a folder of its own.

        Args:
            name: what people read when they save it; everything but letters, digits, hyphens and the ending goes.

        Raises:
            FieldError: as `new_folder`.
        """
        stem, dot, ending = name.rpartition(".")
        return self.new_folder() / f"{slug(stem if dot else name) or 'file'}{'.' if dot else ''}{slug(ending)}"

    def keep_only(self, kind: str, content: bytes) -> Path:
        """A new file, the only one of its kind: those before it go.

        Args:
            kind: of the file; no other folder may be of this kind.
            content: of the file.

        Raises:
            FieldError: as `new_folder`.
            OSError: it cannot be written; those before it stay.
        """
        before = list(self.path.glob(f"{kind}-*"))
        folder = self.new_folder(kind)
        try:
            (folder / kind).write_bytes(content)
        except OSError:
            _remove(folder)
            raise
        for earlier in before:
            _remove(earlier)
        return folder / kind

    def owned(self, path: str | Path, field: str) -> Path:
        """A path that came back from a page, if it is a regular file of this session, reached without any link.

        Raises:
            FieldError: it is something else; nothing was opened to find out.
        """
        refusal = FieldError(field, "this file is not one of yours, or has expired; load it again")
        try:
            parts = Path(path).relative_to(self.path).parts
            steps = [self.path.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]
            modes = [step.lstat().st_mode for step in steps]
        except (OSError, ValueError) as error:  # absent, outside, or with a NUL
            raise refusal from error
        if not modes or ".." in parts or not stat.S_ISREG(modes[-1]) or not all(map(stat.S_ISDIR, modes[:-1])):
            raise refusal
        return steps[-1]


class Storage:
    """A fresh private temporary folder with one folder a session; removed when the process ends.

    Attributes:
        root: the folder, of mode 0700.
    """

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008  (frozen)
        self.limits = limits
        _remove_leftovers(Path(tempfile.gettempdir()))
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        self._alive = FileLock(self.root / _LOCK, thread_local=False)
        self._alive.acquire()
        self._secret = secrets.token_bytes(32)
        self._room = Room(self.root, limits.stored_bytes)
        self._sessions: dict[str, SessionFolder] = {}
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, _remove_root, self.root, self._alive)
        """Remove everything; also called when the process ends."""

    @property
    def is_full(self) -> bool:
        """Whether all files together are beyond `limits.stored_bytes`."""
        return not self._room.is_left

    def session(self, session_hash: str | None) -> SessionFolder:
        """The folder of a session, made where there is none; nobody can guess its name, no client can choose it.

        Args:
            session_hash: Gradio's; None for a caller without one, who gets a folder of his own each time.
        """
        known = session_hash or secrets.token_hex(16)
        name = hmac.new(self._secret, known.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:32]
        with self._lock:
            folder = self._sessions.setdefault(name, SessionFolder(self.root / name, self._room))
            folder.path.mkdir(mode=0o700, exist_ok=True)
        return folder

    def forget(self, session_hash: str) -> None:
        """Remove the files of a session."""
        folder = self.session(session_hash)
        with self._lock:
            self._sessions.pop(folder.name, None)
        shutil.rmtree(folder.path, ignore_errors=True)

    def expire(self, now: float | None = None) -> None:
        """Remove what is older than `limits.keep_seconds`.

        Args:
            now: seconds since the epoch; the present time without.
        """
        oldest = (time.time() if now is None else now) - self.limits.keep_seconds
        with self._lock:
            for session in [path for path in self.root.iterdir() if path.name != _LOCK]:
                with suppress(OSError):  # somebody else removed it meanwhile
                    _expire_session(session, oldest)
                if not session.exists():
                    self._sessions.pop(session.name, None)


def _expire_session(session: Path, oldest: float) -> None:
    """What is in a folder goes by its own age; the folder itself when nothing has come or gone for as long."""
    untouched = session.lstat().st_mtime < oldest
    entries = list(session.iterdir()) if session.is_dir() and not session.is_symlink() else []
    old = [entry for entry in entries if entry.lstat().st_mtime < oldest]
    for entry in old:
        _remove(entry)
    if untouched and len(old) == len(entries):
        _remove(session)


def _remove(entry: Path) -> None:
    """A file, a link itself, or a folder with all that is in it."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _remove_root(root: Path, alive: FileLock) -> None:
    shutil.rmtree(root, ignore_errors=True)
    alive.release()


def _remove_leftovers(home: Path) -> None:
    """Remove what servers left that were killed: folders of ours whose lock nobody holds."""
    for folder in home.glob(f"{_PREFIX}*"):
        with suppress(OSError, Timeout):
            found = folder.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if ours and time.time() - found.st_mtime > _STARTING and (folder / _LOCK).is_file():
                with FileLock(folder / _LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
