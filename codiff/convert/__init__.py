"""Published checkpoints -> codiff folders."""

from codiff.convert.conversion import convert
from codiff.convert.description import Description, preset_description, presets, yaml_description

__all__ = ["Description", "convert", "preset_description", "presets", "yaml_description"]
