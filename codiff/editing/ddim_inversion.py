"""DDIM inversion: the noise that leads to the picture under the source conditions, denoised under the target's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codiff.editing.edit import DEFAULT, Edit, OnStep, Sampling
from codiff.editing.inversion import REFINEMENTS, Inversion, check_deterministic, reconstruction_error
from codiff.editing.photo import psnr
from codiff.editing.session import Session, as_array, check_share
from codiff.image_files import ImageSource
from codiff.pipeline import CollaborativePipeline, Generators

STRENGTH = 0.8


def ddim_inversion(
    pipe: CollaborativePipeline,
    image: ImageSource | Sequence[ImageSource],
    conditions: Mapping[str, Any],
    *,
    source: Mapping[str, Any] | None = None,
    strength: float = STRENGTH,
    refinements: int = REFINEMENTS,
    generator: Generators = None,
    sampling: Sampling = DEFAULT,
    on_step: OnStep | None = None,
) -> Edit:
    """Encode the picture deterministically under the source conditions and decode it under the target's (Song et al.,
    "DDIM", 2021, arXiv:2010.02502, section 4.3; as an editor: Su et al., arXiv:2203.08382).

    Guidance applies to the last decoding alone: with it the way in would not be the way out.
    `measured["reconstruction_error"]` is the root mean square difference, in latents of about unit variance, between
    the picture and what the source conditions decode of its noise, and `measured["reconstruction_psnr"]` that of the
    decoded pictures in dB. Where the reconstruction is poor, so is the edit: take more steps or refinements.

    Args:
        pipe, image, conditions: see `Session`.
        source: what the picture shows, by modality; any subset. Without, no condition.
        strength: share of the schedule that is encoded, from 0 to 1.
        refinements: see `Inversion`.
        generator: its length is the number of equal images; the editor draws nothing.

    Raises:
        InputError: an argument is wrong; nothing is computed then.
    """
    check_share(strength, "the strength of ddim-inversion")
    check_deterministic(sampling, "ddim-inversion")
    session = Session(pipe, image, conditions, sampling, generator)
    tokens = None if source is None else session.encoded(source)
    inversion = Inversion(session, tokens, strength, refinements=refinements, on_step=on_step)
    rebuilt = inversion.retraced()
    result = session.sample(inversion.start, scheduler=inversion.way_out, step_kwargs={}, on_step=on_step)
    known = as_array(session.decode(session.photo.latents))
    measured = {
        "reconstruction_error": reconstruction_error(session, rebuilt),
        "reconstruction_psnr": psnr(known, as_array(session.decode(rebuilt))),
    }
    return Edit(session.decode(result), result, inversion.start, measured=measured)
