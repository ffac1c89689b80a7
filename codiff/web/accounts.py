"""Who may log in: a file of names and hashed passwords."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from codiff.errors import InputError
from codiff.files import written_aside

_NAME = re.compile(r"[^\s:#\x00-\x1f\x7f][^:\x00-\x1f\x7f]{0,63}")
_HASH = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_LN, _R, _P = 15, 8, 1  # of new hashes: 32 MiB and about 0.1 s a guess
_MOST_LN, _MOST_R, _MOST_P = 17, 16, 4
_SHORTEST_PASSWORD = 8
_PROTECTED = 0o600


@dataclass(frozen=True)
class PasswordHash:
    """A password as scrypt keeps it (RFC 7914), written $scrypt$ln=15,r=8,p=1$SALT$HASH with base64 without padding.

    Attributes:
        cost: log2 of the cost N.
        block: the block size r.
        parallel: the parallelisation p.
        salt: of this password alone.
        digest: what the password must come to.
    """

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """A new hash of a password, with a salt of its own."""
        blank = cls(_LN, _R, _P, secrets.token_bytes(16), bytes(32))
        return cls(_LN, _R, _P, blank.salt, blank.derived(password))

    @classmethod
    def read(cls, text: str) -> PasswordHash:
        """Raises:
        InputError: it is no such hash, or asks for more work or memory than is reasonable.
        """
        found = _HASH.fullmatch(text)
        if found is None:
            raise InputError("no scrypt hash")
        cost, block, parallel = (int(found[number]) for number in (1, 2, 3))
        if not (10 <= cost <= _MOST_LN and 1 <= block <= _MOST_R and 1 <= parallel <= _MOST_P):
            raise InputError(f"a hash outside ln 10 to {_MOST_LN}, r 1 to {_MOST_R}, p 1 to {_MOST_P}")
        try:
            salt, digest = _decoded(found[4]), _decoded(found[5])
        except binascii.Error as error:
            raise InputError("no scrypt hash") from error
        if len(salt) < 8 or len(digest) < 16:
            raise InputError("a salt or a hash that is too short")
        return cls(cost, block, parallel, salt, digest)

    def derived(self, password: str) -> bytes:
        """What a password comes to with this salt; as long as `digest`."""
        return hashlib.scrypt(
            password.encode(errors="surrogatepass"),
            salt=self.salt,
            n=2**self.cost,
            r=self.block,
            p=self.parallel,
            maxmem=2 * 128 * 2**self.cost * self.block,
            dklen=len(self.digest),
        )

    def fits(self, password: str) -> bool:
        """Whether it is this password, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(self.derived(password), self.digest)

    def __str__(self) -> str:
        parameters = f"ln={self.cost},r={self.block},p={self.parallel}"
        return f"$scrypt${parameters}${_encoded(self.salt)}${_encoded(self.digest)}"


class Accounts:
    """Names and password hashes.

    Attributes:
        hashes: by name.
    """

    def __init__(self, hashes: dict[str, PasswordHash]) -> None:
        self.hashes = hashes
        self._nobody = PasswordHash.of(secrets.token_hex(16))

    @classmethod
    def read(cls, path: Path) -> Accounts:
        """Accounts of a file: one `name:hash` a line; empty lines and lines that begin with # are skipped.

        Raises:
            InputError: it cannot be read, others than its owner and group may read it, a line is wrong, or it is empty.
        """
        hashes: dict[str, PasswordHash] = {}
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, rest = line.partition(":")
            where = f"{path}, line {number}"
            if not colon or not _NAME.fullmatch(name):
                raise InputError(f"{where}: a name, a colon and a hash are expected; {_how_to_add(path)}")
            if name in hashes:
                raise InputError(f"{where}: {name!r} is there twice; remove one of the lines")
            try:
                hashes[name] = PasswordHash.read(rest.strip())
            except InputError as error:
                raise InputError(f"{where}: {name!r} has {error}, and no other is read; {_how_to_add(path)}") from error
        if not hashes:
            raise InputError(f"{path}: nobody could log in; {_how_to_add(path)}")
        return cls(hashes)

    def admit(self, name: str, password: str) -> bool:
        """Whether the name is known and the password is its own; takes as long where the name is not known."""
        known = self.hashes.get(name)
        fits = (known or self._nobody).fits(password)
        return known is not None and fits


def add_account(path: Path, name: str, password: str) -> bool:
    """Add a line to a file of accounts, or replace that of the same name; True where it was replaced.

    The file is made where there is none, readable by its owner alone.

    Raises:
        InputError: the name or the password will not do, or the file is wrong or cannot be written.
    """
    if not _NAME.fullmatch(name) or name != name.strip():
        raise InputError(f"{name!r} is no name: 1 to 64 characters, no colon, and no # or space at the beginning")
    if len(password) < _SHORTEST_PASSWORD:
        raise InputError(f"a password has {_SHORTEST_PASSWORD} characters or more")
    lines = _lines(path) if os.path.lexists(path) else []
    kept = [line for line in lines if line.partition(":")[0] != name or line.startswith("#")]
    text = "\n".join([*kept, f"{name}:{PasswordHash.of(password)}"]) + "\n"
    with written_aside(path) as temporary:
        temporary.touch(_PROTECTED)
        temporary.write_text(text, encoding="utf-8")
    return len(kept) < len(lines)


def _lines(path: Path) -> list[str]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is not a file; give a file of names and hashed passwords")
        if os.name == "posix" and mode & stat.S_IRWXO:
            raise InputError(f"{path} may be read or changed by everybody on this machine: chmod 600 {path}")
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"there is no {path}; {_how_to_add(path)}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8; {_how_to_add(path)}") from error


def _how_to_add(path: Path) -> str:
    return f"codiff web --auth {path} --add-user NAME writes lines"


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode().rstrip("=")
