"""Conditions and pictures from folders: one a method, files of the same name belong together."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from codiff.data.named_files import find_named_files, read_named_captions
from codiff.errors import InputError, InputNotice
from codiff.image_files import open_image, open_raw
from codiff.modalities.mask import colour, read_labels
from codiff.study.questions import Condition


@dataclass(frozen=True)
class Folders:
    """Where the material of a study lies; a file's name without its ending names the condition.

    Attributes:
        images: holds a folder for each method.
        methods: those that are compared; None for all.
        captions: JSON object of names and captions, or JSON lines with `name` and `text`.
        masks, originals: folders of pictures.
    """

    images: Path
    methods: Sequence[str] | None = None
    captions: Path | None = None
    masks: Path | None = None
    originals: Path | None = None

    def conditions(self, count: int | None = None, seed: int = 0) -> list[Condition]:
        """The conditions, or `count` of them drawn by `seed`, in the order of their names.

        A condition is left out, with an `InputNotice`, where a method or the material lacks it.

        Raises:
            InputError: a folder or file is missing or broken, or there are fewer than `count` conditions.
        """
        by_method = {method: find_named_files(self.images / method) for method in self._methods()}
        captions = None if self.captions is None else read_named_captions(self.captions)
        masks = None if self.masks is None else find_named_files(self.masks)
        originals = None if self.originals is None else find_named_files(self.originals)
        given = [*by_method.values(), *(each for each in (captions, masks, originals) if each is not None)]
        names = self._common(list(by_method.values()), given, count)
        if count is not None:
            names = sorted(random.Random(seed).sample(names, count))
        return [
            Condition(
                name,
                {method: open_image(paths[name], what=f"picture of {method}") for method, paths in by_method.items()},
                None if captions is None else captions[name],
                None if masks is None else drawn_mask(masks[name]),
                None if originals is None else open_image(originals[name], what="original"),
            )
            for name in names
        ]

    def _methods(self) -> list[str]:
        if not self.images.is_dir():
            raise InputError(f"there is no folder {self.images}; give one that holds a folder for each method")
        there = sorted(entry.name for entry in self.images.iterdir() if entry.is_dir() and entry.name[0] != ".")
        if self.methods is None:
            chosen = there
        else:
            chosen = list(self.methods)
            for method in chosen:
                if method not in there:
                    raise InputError(f"{self.images} holds no method {method!r}; it holds {', '.join(there) or 'none'}")
        if len(set(chosen)) < 2:
            raise InputError(f"two methods or more are compared, but {self.images} gives {', '.join(chosen) or 'none'}")
        return list(dict.fromkeys(chosen))

    def _common(
        self, pictures: Sequence[Mapping[str, Path]], given: Sequence[Mapping[str, Any]], count: int | None
    ) -> list[str]:
        """Names that everything given has."""
        every = {name for each in pictures for name in each}
        names = sorted(name for name in every if all(name in each for each in given))
        if not names:
            raise InputError(
                f"no picture is in every method's folder of {self.images} and has all the material given: pictures, "
                "masks, originals and captions belong together by their names"
            )
        if count is not None and not 1 <= count <= len(names):
            raise InputError(f"{len(names)} conditions are there, {count} are asked for")
        if len(names) < len(every):
            lacking = min(every - set(names))
            warnings.warn(
                f"{len(every) - len(names)} of {len(every)} conditions lack something and are left out, as {lacking!r}",
                InputNotice,
                stacklevel=3,
            )
        return names


def drawn_mask(path: Path) -> Image.Image:
    """A mask as people can see it: labels in CelebAMask-HQ's colours, a picture in colours as it is; RGB.

    Raises:
        InputError: unreadable, or labels that are unknown.
    """
    raw = open_raw(path, "mask")
    if raw.mode in ("RGB", "RGBA"):
        return open_image(path, what="mask")
    return Image.fromarray(colour(read_labels(path)))
