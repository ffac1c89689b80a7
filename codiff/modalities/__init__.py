"""Modalities: raw condition -> validated tensor -> tokens; one file each."""

from codiff.modalities.mask import MaskModality
from codiff.modalities.modality import Modality
from codiff.modalities.sketch import SketchModality
from codiff.modalities.text import TextModality

__all__ = ["MaskModality", "Modality", "SketchModality", "TextModality"]
