"""Where generated files go: safe names, metadata, and what stands there already."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

import codiff
from codiff.cli.show import tell
from codiff.credentials import can_sign, open_identity, signed
from codiff.errors import InputError
from codiff.files import written_aside
from codiff.png_metadata import png_with, read_metadata

Signer = Callable[[bytes, Mapping[str, Any]], bytes]
"""(a PNG, its metadata) -> the PNG with Content Credentials."""


def check_writable(folder: Path) -> None:
    """A folder that exists can be written into, or one that does not can be made.

    Raises:
        InputError: it cannot; nothing is made or changed to find out.
    """
    home = folder.absolute()
    while not os.path.lexists(home):
        home = home.parent
    if not home.is_dir():
        raise InputError(f"cannot write into {folder}: {home} is not a folder; choose another folder")
    if not os.access(home, os.W_OK | os.X_OK):
        raise InputError(f"cannot write into {folder}: no permission in {home}; choose another folder")


def slug(text: str, most: int = 40) -> str:
    """Lower-case letters, digits and hyphens, at most `most`, that a text becomes: never a path, perhaps empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    whole = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(whole) <= most:
        return whole
    words = whole[: most + 1].rpartition("-")[0]
    return words or whole[:most]


def is_file(value: str) -> bool:
    """Whether a condition is the path of a file that exists."""
    try:
        return Path(value).is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False


def shown(value: str) -> str:
    """A condition as metadata show it: of a file its name alone, which tells nothing of the machine."""
    return Path(value).name if is_file(value) else value


def name_for(conditions: Mapping[str, str]) -> str:
    """A slug of the first condition's words or of its file."""
    modality, value = next(iter(conditions.items()))
    return slug(Path(value).stem if is_file(value) else value) or slug(modality) or "image"


@dataclass(frozen=True)
class Outputs:
    """The files of one set of conditions. Their names carry a digest of all that determines the pictures but the seed,
    so other settings never meet the same names.

    Attributes:
        folder: where they all lie.
        name: slug of the conditions.
        digest: of conditions, model and settings.
        seeds: of the images.
        figures: kinds of figures that each image has besides ("influences", ...).
    """

    folder: Path
    name: str
    digest: str
    seeds: Sequence[int]
    figures: Sequence[str] = ()

    def image(self, seed: int) -> Path:
        """The picture itself."""
        return self.folder / f"{self.name}-{self.digest[:8]}-seed{seed}.png"

    def figure(self, seed: int, kind: str) -> Path:
        """A figure about one image."""
        return self.folder / f"{self.name}-{self.digest[:8]}-seed{seed}-{kind}.png"

    @property
    def grid(self) -> Path:
        """The overview of all images."""
        seeds = f"seed{self.seeds[0]}" if len(self.seeds) == 1 else f"seeds{self.seeds[0]}-{self.seeds[-1]}"
        return self.folder / f"{self.name}-{self.digest[:8]}-{seeds}-grid.png"

    def paths(self) -> list[Path]:
        """All files."""
        figures = [self.figure(seed, kind) for seed in self.seeds for kind in self.figures]
        return [*map(self.image, self.seeds), *figures, self.grid]

    def listing(self) -> dict[str, Any]:
        """All files, as JSON can hold them."""
        figures = {seed: {kind: str(self.figure(seed, kind)) for kind in self.figures} for seed in self.seeds}
        images = [{"seed": seed, "image": str(self.image(seed)), **figures[seed]} for seed in self.seeds]
        return {"images": images, "grid": str(self.grid)}

    def check_free(self) -> None:
        """No file of somebody else stands at one of the names.

        Raises:
            InputError: one does.
        """
        for path in self.paths():
            if os.path.lexists(path) and not self._is_ours(path):
                raise InputError(
                    f"{path} exists and was not written by this command; move it, or choose another folder"
                )

    def done(self) -> bool:
        """Whether all files are there, whole, with these conditions and settings."""
        return all(path.is_file() and self._is_ours(path) for path in self.paths())

    def _is_ours(self, path: Path) -> bool:
        return read_metadata(path).get("digest") == self.digest


def save_png(picture: Image.Image, path: Path, metadata: Mapping[str, Any], signer: Signer | None = None) -> None:
    """Write a picture whole or not at all, with metadata as JSON in a tEXt chunk, signed where there is a signer."""
    content = png_with(picture, metadata)
    if signer is not None:
        content = signer(content, metadata)
    with written_aside(path) as temporary:
        temporary.write_bytes(content)


def signer_of(wanted: bool, *, edited: bool = False) -> Signer | None:
    """What signs the pictures of a command; None where that is not wanted or not installed, which is told.

    Args:
        edited: whether photos are edited, rather than pictures made.

    Raises:
        InputError: the identity to sign with is incomplete.
    """
    if not wanted:
        return None
    if not can_sign():
        tell("note: pictures carry no Content Credentials; pip install 'codiff[provenance]' for signing them")
        return None
    return partial(signed, identity=open_identity(), version=codiff.__version__, edited=edited)
