"""Protocols: all that a number depends on besides the model and the method; docs/benchmark.md says what each means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from codiff.errors import InputError

Data = Literal["faces", "celeba-hq"]
Reference = Literal["validation", "all"]

LEAST = 8
"""Conditions: resamples of fewer may hold one picture alone, which is no set."""


@dataclass(frozen=True)
class Protocol:
    """What is generated, how, and what it is compared with.

    Attributes:
        name: as `codiff evaluate --protocol` takes it.
        data: "faces" (drawn, codiff.data.faces) or "celeba-hq" (CelebA-HQ with masks and captions).
        conditions: the first so many of the validation split; image k is drawn from seed k.
        reference: the real pictures that sets are compared with: the validation split, or all pictures.
        steps: denoising steps of the model's own scheduler.
        eta: of schedulers that have it, DDIM above all.
        metrics: names in `codiff.evaluation.metrics.METRICS`, and "memorisation".
        diversity: so many conditions have four pictures each for the diversity; 0 leaves it out.
        part_of: name of the protocol whose first conditions these are; None for the protocol itself.
    """

    name: str
    data: Data
    conditions: int
    reference: Reference
    steps: int
    eta: float
    metrics: tuple[str, ...]
    diversity: int = 0
    part_of: str | None = None

    def smaller(self, conditions: int | None, steps: int | None) -> Protocol:
        """The same protocol with fewer conditions or other steps, which its name then tells.

        Raises:
            InputError: more conditions than the protocol has, none, or no steps.
        """
        count = self.conditions if conditions is None else conditions
        taken = self.steps if steps is None else steps
        if not LEAST <= count <= self.conditions:
            span = f"{LEAST} to {self.conditions}"
            raise InputError(f"{self.name} has {self.conditions} conditions; take {span} of them, not {count}")
        if taken < 1:
            raise InputError(f"steps must be 1 or more, not {taken}")
        if (count, taken) == (self.conditions, self.steps):
            return self
        told = [f"first {count}"] if count != self.conditions else []
        told += [f"{taken} steps"] if taken != self.steps else []
        diversity = min(self.diversity, max(2, count // 20)) if self.diversity else 0
        name = f"{self.name} ({', '.join(told)})"
        return replace(self, name=name, conditions=count, steps=taken, diversity=diversity, part_of=self.name)


_PHOTOGRAPHS = ("mask", "miou", "text", "sum", "frechet", "kernel")

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("paper-50", "celeba-hq", 50, "all", 50, 1.0, _PHOTOGRAPHS),
        Protocol("full-3000-all", "celeba-hq", 3000, "all", 50, 1.0, _PHOTOGRAPHS),
        Protocol("full-3000-validation", "celeba-hq", 3000, "validation", 50, 1.0, _PHOTOGRAPHS),
        Protocol(
            "demo-3000",
            "faces",
            3000,
            "validation",
            25,
            0.0,
            ("mask", "miou", "beard", "age", "caption", "sum", "frechet", "kernel", "diversity", "memorisation"),
            diversity=50,
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
