"""A person's own photo: read for editing, and what it becomes, in the colours it came in."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from codiff.image_files import ImageSource, open_image, open_raw


@dataclass(frozen=True)
class OwnPhoto:
    """A photo of any size.

    Attributes:
        picture: upright, RGB, sRGB: what is looked at and edited.
        stored: upright, as its file has it, in the colours of `profile`.
        profile: the file's colour profile (ICC); None where it has none, or one that its colours do not need.
    """

    picture: Image.Image
    stored: Image.Image
    profile: bytes | None

    @classmethod
    def open(cls, source: ImageSource) -> OwnPhoto:
        """Read a photo.

        Raises:
            InputError: as `open_image`.
        """
        stored = open_raw(source, "photo")
        return cls(open_image(stored, what="photo"), stored, stored.info.get("icc_profile"))

    def changed(self, edited: Image.Image, where: Image.Image) -> Image.Image:
        """The photo with the pixels of an edited sRGB picture of its size where the mode-L picture `where` is not 0.

        The others are those of the file, to the bit, and its profile goes on with them, where the file holds 8-bit
        RGB, with or without an alpha channel that hides nothing and is left out; other kinds become sRGB. Nothing else
        of the file's metadata is kept: it may tell where and by whom a photo was taken.
        """
        own = self.stored.mode == "RGB" or (
            self.stored.mode == "RGBA" and self.stored.getchannel("A").getextrema() == (255, 255)
        )
        if own and self.profile is not None:
            edited = _from_srgb(edited, self.profile) or edited
        base = self.stored.convert("RGB") if own else self.picture
        pixels = np.where(np.asarray(where)[..., None] > 0, np.asarray(edited.convert("RGB")), np.asarray(base))
        result = Image.fromarray(pixels.astype(np.uint8))
        if own and self.profile is not None:
            result.info["icc_profile"] = self.profile
        return result


def _from_srgb(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """In the colours of a profile; None where that is unusable, as `open_image` then ignored it."""
    try:
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
