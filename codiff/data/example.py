"""What training needs of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Example(Protocol):
    """One picture and its raw conditions."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture, (size, size, 3)."""

    @property
    def alternatives(self) -> Mapping[str, Sequence[Any]]:
        """Modality -> raw conditions that say the same (wordings of a caption, say); training draws one of them."""


Examples = Sequence[Example]
