"""Pictures of what a sampling foresees, as often as they are cheap."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codiff.pipeline import CollaborativePipeline

_SHARE = 0.2  # of the time, for decoding
_OFTEN, _SELDOM = 0.4, 1.0  # seconds between two previews
_WIDEST = 1024  # pixels of a row of several pictures, which goes over the network again and again


class Previews:
    """The predicted x_0 of a request's pictures in a row, again after every second at the latest.

    Decoding takes a fifth of the time; where that is not enough for one preview a second, up to half of it.

    Args:
        pipe: what decodes.
        clock: seconds.
    """

    def __init__(self, pipe: CollaborativePipeline, clock: Callable[[], float] = time.monotonic) -> None:
        self._pipe, self._clock = pipe, clock
        self._shown: float | None = None
        self._asked = 0.0
        self._cost = 0.0

    def of(self, prediction: Tensor, finished: Sequence[Image.Image] = ()) -> Image.Image | None:
        """The row of RGB pictures of latents (batch, channels, h, w), reduced to 1024 pixels of width where there are
        several; None where it is too early for another.

        Args:
            prediction: what is foreseen.
            finished: pictures of the same request that are done, which stand before them.
        """
        now = self._clock()
        due, self._asked = self._is_due(now), now
        if not due:
            return None
        with torch.no_grad():
            pictures = self._pipe.decode(prediction)
        row = _row([*finished, *pictures])
        self._shown = self._asked = self._clock()
        self._cost = self._shown - now
        return row

    def _is_due(self, now: float) -> bool:
        if self._shown is None:
            return True
        passed, step = now - self._shown, now - self._asked
        cheap = passed >= max(_OFTEN, self._cost * (1 - _SHARE) / _SHARE)
        late = passed + step + self._cost > _SELDOM  # at the next step
        return cheap or (late and passed >= self._cost)


def _row(pictures: Sequence[Image.Image]) -> Image.Image:
    side = min(pictures[0].width, _WIDEST // len(pictures)) if len(pictures) > 1 else pictures[0].width
    reduced = [each if each.width == side else each.resize((side, side), Image.Resampling.BOX) for each in pictures]
    return Image.fromarray(np.concatenate([np.asarray(each) for each in reduced], axis=1))
