"""Imagic with several modalities: learn the picture, then move its tokens towards the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from codiff.editing.edit import DEFAULT, Edit, OnStep, Sampling
from codiff.editing.inversion import Inversion
from codiff.editing.learned import Learned, model_digest
from codiff.editing.learner import Learner, OnLearning, over
from codiff.editing.learning import Learning, learning_for
from codiff.editing.session import Session
from codiff.errors import InputError
from codiff.image_files import ImageSource
from codiff.pipeline import CollaborativePipeline, Generators

STARTS = NOISE, INVERSION = ("noise", "inversion")
"""What the sampling can begin with."""

ALPHA = 1.0
ALPHAS = (-1.0, 2.5)
"""The range of alphas: that of the published scripts."""


def imagic(
    pipe: CollaborativePipeline,
    image: ImageSource | Sequence[ImageSource],
    conditions: Mapping[str, Any],
    *,
    alpha: float | Mapping[str, float] = ALPHA,
    learning: Learning | None = None,
    learned: Learned | str | Path | None = None,
    save_to: str | Path | None = None,
    start: str = NOISE,
    generator: Generators = None,
    latents: Tensor | None = None,
    sampling: Sampling = DEFAULT,
    on_learning: OnLearning | None = None,
    on_step: OnStep | None = None,
) -> Edit:
    """Edit one picture by learning it (Huang et al., arXiv:2304.10530, algorithm 3). For each modality of the target:
    (A) optimise its tokens so that its collaborator, frozen, reconstructs the picture; (B) fine-tune the collaborator
    around them; (C) interpolate, c_int = alpha c_tgt + (1 - alpha) c_opt. Then sample collaboratively with the trained
    dynamic diffusers. The pipeline's own models stay as they are.

    Args:
        pipe, conditions, generator, latents: see `Session`; the sampling begins with `latents`.
        image: one picture, whatever the number of images.
        alpha: 0 for the picture, 1 for the target; for all modalities, or by modality; from -1 to 2.5.
        learning: how to learn; None for `learning_for(pipe)`. Not with `learned`, which knows.
        learned: what an earlier call learned of this picture: other alphas, seeds, samplers and targets then only cost
            sampling. Where it was interrupted, it is learned to the end.
        start: "noise" begins with the generator's noise, or with `latents`, as published; "inversion" with the noise
            that leads to the picture under the optimised tokens (`Inversion`), which keeps more of what no condition
            tells, and draws nothing.
        save_to: where what is learned is saved, also when the learning is interrupted.
        on_learning: called after each step of the learning.

    Raises:
        InputError: an argument is wrong; nothing is computed then.
        KeyboardInterrupt: SIGINT or SIGTERM came while learning; what was learned is saved.
    """
    alphas = _alphas(alpha, conditions)
    _check_start(start, latents)
    if learned is not None and learning is not None:
        raise InputError("give either how to learn or what was learned: a learned edit knows its settings")
    session = Session(pipe, image, conditions, sampling, generator, latents)
    known = _begun(session, learning, learned)
    there = known.finished and learned is not None and learned == save_to
    learner = _learned(session, known, None if there else save_to, on_learning)
    composition = over(session.composition(), learner.merged())
    optimised = session.expanded(_on_device({m: known.tokens[m] for m in session.target}, session.photo.latents))
    begin = session.noise()
    if start == INVERSION:
        way = Inversion(session, optimised, 1.0, composition=composition, refinements=1, on_step=on_step)
        begin = way.start
    result = session.sample(
        begin * session.scheduler.init_noise_sigma,
        composition=composition,
        tokens=interpolated(session.target, optimised, alphas),
        on_step=on_step,
    )
    return Edit(session.decode(result), result, begin, learned=known)


def interpolated(
    target: Mapping[str, Tensor], optimised: Mapping[str, Tensor], alphas: Mapping[str, float]
) -> dict[str, Tensor]:
    """c_int = alpha c_tgt + (1 - alpha) c_opt by modality (arXiv:2304.10530, algorithm 3, line 13)."""
    return {m: alphas[m] * tokens + (1 - alphas[m]) * optimised[m] for m, tokens in target.items()}


def _check_start(start: str, latents: Tensor | None) -> None:
    """Raises:
    InputError: unknown, or two starts.
    """
    if start not in STARTS:
        raise InputError(f"unknown start {start!r}; known: {', '.join(STARTS)}")
    if start == INVERSION and latents is not None:
        raise InputError("give either latents or the start from inversion")


def _begun(session: Session, learning: Learning | None, learned: Learned | str | Path | None) -> Learned:
    """A learned edit as it stands: one that was given and fits, or a new one.

    Raises:
        InputError: several pictures, or a learned edit that does not fit.
    """
    if len({pixels.tobytes() for pixels in session.photo.pixels}) > 1:
        raise InputError("imagic learns one picture at a time; call it for each")
    pipe, photo = session.pipe, session.photo.digest
    if learned is None:
        # contiguous, as they come back from a file: other strides are rounded otherwise
        tokens = {modality: value[:1].contiguous().clone() for modality, value in session.target.items()}
        return Learned(learning or learning_for(pipe), model_digest(pipe, tokens), photo, tokens)
    known = learned if isinstance(learned, Learned) else Learned.load(learned)
    known.check(pipe, photo, session.target)
    return known


def _learned(session: Session, known: Learned, save_to: str | Path | None, on_learning: OnLearning | None) -> Learner:
    """The learner after all steps; what it learned is saved, whatever ends it."""
    learner = Learner(session.pipe, known, session.photo.latents[:1], session.composition())
    try:
        if not known.finished:
            learner.run(on_learning)
    finally:
        if save_to is not None:
            known.save(save_to)
    return learner


def _alphas(alpha: float | Mapping[str, float], conditions: Mapping[str, Any]) -> dict[str, float]:
    """By modality.

    Raises:
        InputError: out of range, missing, or of a modality that is not edited.
    """
    given = dict(alpha) if isinstance(alpha, Mapping) else dict.fromkeys(conditions, alpha)
    if given.keys() != set(conditions):
        raise InputError(f"alpha is given for {', '.join(given)}, but the target has {', '.join(conditions)}")
    low, high = ALPHAS
    for modality, value in given.items():
        wrong = isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
        if wrong or not low <= value <= high:
            raise InputError(f"the alpha of imagic must be from {low:g} to {high:g}, not {value!r} ({modality})")
    return {modality: float(given[modality]) for modality in conditions}


def _on_device(tokens: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
    return {modality: value.to(device=like.device, dtype=like.dtype) for modality, value in tokens.items()}
