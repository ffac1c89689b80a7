"""Editing: one editor a file, one public function named as the file; all begin with a photo and end in `sample`."""

from codiff.editing.blended import blended
from codiff.editing.ddim_inversion import ddim_inversion
from codiff.editing.diffedit import diffedit
from codiff.editing.edit import Edit, Sampling
from codiff.editing.imagic import imagic
from codiff.editing.learned import Learned
from codiff.editing.learning import Learning, learning_for
from codiff.editing.sdedit import sdedit

__all__ = [
    "Edit",
    "Learned",
    "Learning",
    "Sampling",
    "blended",
    "ddim_inversion",
    "diffedit",
    "imagic",
    "learning_for",
    "sdedit",
]
