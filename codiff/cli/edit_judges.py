"""Who judges edits when the strength is to be found: a model's own evaluators, or others that are named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codiff.editing.judges import ChangedParts, LikeReferences, SameColours
from codiff.editing.strength import Judges, Score
from codiff.errors import InputError, InputNotice
from codiff.evaluation.clip_score import Clip, clip_score
from codiff.evaluation.identity_similarity import identity_similarity
from codiff.evaluation.inputs import Parser
from codiff.modalities.mask import LabelMaps, resize_labels
from codiff.modalities.text import TextModality
from codiff.pipeline import CollaborativePipeline, generators
from codiff.recognition import AttributeClassifier, BiSeNet, FaceEmbedder, FaceParser

_REFERENCES, _STEPS, _GUIDANCE = 4, 20, 2.0


@dataclass(frozen=True)
class Named:
    """Evaluators that the command names in place of a model's own.

    Attributes:
        clip: folder or hub id of a CLIP model.
        parser: weights of BiSeNet.
        embedder: file of a face recognition network.
    """

    clip: str | None = None
    parser: Path | None = None
    embedder: Path | None = None


class Evaluators:
    """The networks that judge.

    Raises:
        InputError: one that is named is missing or broken, or there are too few to judge identity or any condition.
    """

    def __init__(self, folder: Path, named: Named) -> None:
        self.parser: Parser | None = None
        if named.parser is not None:
            self.parser = BiSeNet.from_pretrained(named.parser)
        elif (folder / "face_parser").is_dir():
            self.parser = _own(FaceParser, folder / "face_parser")
        self.classifier: AttributeClassifier | None = None
        if (folder / "attribute_classifier").is_dir():
            self.classifier = _own(AttributeClassifier, folder / "attribute_classifier")
        self.clip = None if named.clip is None else Clip.from_pretrained(named.clip)
        self.embedder = None if named.embedder is None else FaceEmbedder.from_file(named.embedder)
        if self.embedder is None and self.parser is None:
            raise InputError(
                "this model has no face_parser to judge whether the person stays; give --face-embedder or "
                "--face-parser, or a number as --strength"
            )

    def judges(
        self,
        pipe: CollaborativePipeline,
        photo: Tensor,
        conditions: Mapping[str, Any],
        on_step: Callable[[], None] | None = None,
    ) -> Judges:
        """For edits of a photo towards raw conditions.

        Args:
            pipe: draws what the conditions alone look like, where a judge needs that.
            photo: (1, 3, h, w) in [-1, 1].
            conditions: modality -> raw condition.
            on_step: called after each step of such a drawing; what it raises ends the work.

        Raises:
            InputError: nobody can judge any of the conditions.
        """
        target: dict[str, Score] = {}
        labels = _labels(pipe, conditions, photo.shape[-1])
        for modality, raw in conditions.items():
            judge = self._judge(pipe, photo, modality, raw, labels, on_step)
            if judge is None:
                told = f"nobody judges {modality}; its strength follows the others'"
                warnings.warn(told, InputNotice, stacklevel=2)
            else:
                target[modality] = judge
        if not target:
            raise InputError(
                f"nobody judges {', '.join(conditions)}: this model has no evaluator for it; give --clip or "
                "--face-parser, or a number as --strength"
            )
        return Judges(target, self.identity(photo, next(iter(labels.values()), None)))

    def identity(self, photo: Tensor, target: Tensor | None = None) -> Score:
        """Whether images keep the person in a photo (1, 3, h, w) in [-1, 1], as far as the target's labels (h, w) keep
        it."""
        if self.embedder is not None:
            return _similar(self.embedder, photo)
        assert self.parser is not None
        return SameColours(self.parser, photo, target)

    def _judge(
        self,
        pipe: CollaborativePipeline,
        photo: Tensor,
        modality: str,
        raw: Any,
        labels: Mapping[str, Tensor],
        on_step: Callable[[], None] | None,
    ) -> Score | None:
        encoder = pipe.collaborators[modality].encoder
        if modality in labels and self.parser is not None:
            return ChangedParts(self.parser, photo, labels[modality])
        if isinstance(encoder, TextModality) and self.clip is not None:
            return _obeys_caption(self.clip, str(raw))
        if isinstance(encoder, TextModality) and self.classifier is not None:
            drawn = pipe(
                {modality: raw},
                num_inference_steps=_STEPS,
                guidance_scale=_GUIDANCE if pipe.config.condition_dropout else 1.0,
                generator=generators(0, _REFERENCES),
                callback_on_step_end=None if on_step is None else lambda *_step: on_step(),
                output_type="pt",
            )
            return LikeReferences(self.classifier, drawn.images.cpu() * 2 - 1)
        return None


def _own(kind: type[Any], folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, torch_dtype=torch.float32).eval()
    except Exception as error:  # whatever a damaged file makes a loader raise
        raise InputError(
            f"{folder} cannot be loaded: {str(error).splitlines()[0]}; download the model again"
        ) from error


def _labels(pipe: CollaborativePipeline, conditions: Mapping[str, Any], side: int) -> dict[str, Tensor]:
    """Labels (side, side) of those raw conditions that are label maps, by modality."""
    found = {}
    for modality, raw in conditions.items():
        encoder = pipe.collaborators[modality].encoder
        if isinstance(encoder, LabelMaps):
            resized = resize_labels(encoder.read_all(raw)[0].numpy().astype("uint8"), side)
            found[modality] = torch.from_numpy(resized).long()
    return found


def _obeys_caption(clip: Clip, caption: str) -> Score:
    return lambda images: clip_score(clip, images, [caption] * len(images)) / 100


def _similar(embedder: FaceEmbedder, photo: Tensor) -> Score:
    return lambda images: identity_similarity(embedder, photo.expand(len(images), *photo.shape[1:]), images)
