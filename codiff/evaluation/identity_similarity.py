"""Does an edit keep the person? Cosine of a face recognition network's embeddings."""

from __future__ import annotations

from torch import Tensor

from codiff.errors import InputError
from codiff.evaluation.inputs import check_images
from codiff.recognition import FaceEmbedder


def identity_similarity(embedder: FaceEmbedder, originals: Tensor, edited: Tensor) -> Tensor:
    """Cosine between the embeddings of each picture and its edit: (batch,) in [-1, 1], 1 for the same picture, higher
    is better (Deng et al., "ArcFace", 2019, arXiv:1801.07698).

    What two persons have in common is not 0: print the mean over shuffled pairs beside it. A network is trained to
    ignore age, beard and light, so that a change of skin tone may stay unseen.

    Args:
        originals, edited: (batch, 3, h, w) in [-1, 1], in the frame that the embedder expects.

    Raises:
        InputError: no images, or sets that differ in number.
    """
    check_images(originals, "originals")
    check_images(edited, "edited images")
    if len(originals) != len(edited):
        raise InputError(f"{len(originals)} originals but {len(edited)} edited images; each edit needs its original")
    return (embedder(originals) * embedder(edited)).sum(dim=1).clamp(-1, 1).cpu()
