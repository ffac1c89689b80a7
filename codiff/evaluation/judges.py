"""Networks and labels that judge pictures one by one, and the values that they give."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.evaluation.attribute_accuracy import attribute_accuracy, check_attributes
from codiff.evaluation.benchmark_data import Case
from codiff.evaluation.clip_score import Clip, clip_score
from codiff.evaluation.features import FeatureExtractor, digest_of, inception_features, parser_features
from codiff.evaluation.inputs import Parser, check_images, check_masks, check_parser
from codiff.evaluation.mask_iou import mask_overlaps
from codiff.evaluation.protocols import Protocol
from codiff.recognition import AttributeClassifier, BiSeNet, FaceParser

Scores = dict[str, Tensor]
"""Name -> one value or vector for each picture."""

OVERLAPS, FEATURES = "overlaps", "features"
SCORED = ("mask", "text", "caption", "sum")  # besides the attributes by their names


@dataclass(frozen=True)
class Judges:
    """Whoever is absent gives no values.

    Attributes:
        parser: reads masks.
        classifier: reads attributes.
        clip: compares with captions.
        extractor: describes pictures, for distances between sets.
        device: where they work.
    """

    parser: Parser | None = None
    classifier: AttributeClassifier | None = None
    clip: Clip | None = None
    extractor: FeatureExtractor | None = None
    device: str | torch.device = "cpu"

    @classmethod
    def shipped(cls, folder: Path) -> Judges:
        """The judges of drawn faces that lie in a model's folder.

        Raises:
            InputError: they are missing or broken.
        """
        missing = [name for name in ("face_parser", "attribute_classifier") if not (folder / name).is_dir()]
        if missing:
            raise InputError(f"{folder} has no {' and no '.join(missing)}, which judge drawn faces; 'demo' has both")
        try:
            parser = FaceParser.from_pretrained(folder / "face_parser", torch_dtype=torch.float32).eval()
            classifier = AttributeClassifier.from_pretrained(
                folder / "attribute_classifier", torch_dtype=torch.float32
            ).eval()
        except (OSError, ValueError, KeyError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"the judges in {folder} cannot be read: {reason}") from error
        return cls(parser, classifier, None, parser_features(parser))

    @property
    def digest(self) -> str:
        """SHA-256 of all networks but the extractor, which has its own."""
        networks = {"parser": self.parser, "classifier": self.classifier, "clip": self.clip and self.clip.model}
        parts = [
            digest_of(name, network.state_dict())
            for name, network in networks.items()
            if isinstance(network, torch.nn.Module)
        ]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def to(self, device: str | torch.device) -> Judges:
        """The same judges, working on a device."""
        networks = (self.parser, self.classifier, self.clip and self.clip.model)
        for network in (*networks, self.extractor and self.extractor.network):
            if isinstance(network, torch.nn.Module):
                network.to(device)
        return replace(self, device=device)

    def check(self, cases: Sequence[Case]) -> None:
        """Refuse cases that cannot be judged, before any picture is made.

        Raises:
            InputError: a parser of other classes than the masks, unknown attributes or classes, or empty captions.
        """
        if self.classifier is not None:
            check_attributes(self.classifier, [case.labels for case in cases])
        if self.parser is not None and any(case.mask is not None for case in cases):
            check_parser(self.parser)
            for case in cases:
                if case.mask is None:
                    raise InputError(f"there is no mask of {case.name}, but of others there is")
                check_masks(self.parser, torch.from_numpy(case.mask)[None].long())
        if self.clip is not None and any(case.caption for case in cases):
            self.clip.check([case.caption for case in cases])

    def accuracies(self, images: Tensor, cases: Sequence[Case]) -> Scores:
        """Mask accuracy "mask" and each attribute's, each (batch,) in [0, 1], of images (batch, 3, h, w) in [-1, 1]."""
        return self._of_masks(images, cases) | self._of_labels(images, cases)

    @torch.no_grad()
    def scores(self, images: Tensor, cases: Sequence[Case]) -> Scores:
        """All values: `accuracies`, "overlaps" of masks, "text" (CLIP score), "caption" (mean of the attributes),
        "sum" (mask and caption, or CLIP score / 100 where there are no labels) and "features"."""
        check_images(images)
        images = images.to(self.device)
        found = self.accuracies(images, cases)
        attributes = [value for name, value in found.items() if name not in ("mask", OVERLAPS)]
        if attributes:
            found["caption"] = torch.stack(attributes).mean(dim=0)
        if self.clip is not None and all(case.caption for case in cases):
            found["text"] = clip_score(self.clip, images, [case.caption for case in cases])
        told = found["caption"] if attributes else found["text"] / 100 if "text" in found else None
        if told is not None and "mask" in found:
            found["sum"] = found["mask"] + told
        if self.extractor is not None:
            found[FEATURES] = self.extractor.network(images).float()
        return {name: value.cpu() for name, value in found.items()}

    def _of_masks(self, images: Tensor, cases: Sequence[Case]) -> Scores:
        masks = [case.mask for case in cases if case.mask is not None]
        if self.parser is None or len(masks) < len(cases):
            return {}
        overlaps = mask_overlaps(self.parser, images, torch.from_numpy(np.stack(masks)).long()).cpu()
        pixels = images.shape[-2] * images.shape[-1]
        # the share of pixels whose class is right, as `mask_accuracy` has it, without asking the parser twice
        return {"mask": overlaps[:, :, 0].sum(dim=1) / pixels, OVERLAPS: overlaps}

    def _of_labels(self, images: Tensor, cases: Sequence[Case]) -> Scores:
        if self.classifier is None or not all(case.labels for case in cases):
            return {}
        truth: Mapping[str, list[str]] = {name: [case.labels[name] for case in cases] for name in cases[0].labels}
        return attribute_accuracy(self.classifier, images, truth)


def judges_for(
    folder: Path, protocol: Protocol, face_parser: Path | None, inception: str | None, clip: str | None
) -> Judges:
    """The judges of a protocol: the shipped ones of drawn faces, or those of photographs by their weights.

    Raises:
        InputError: weights that the protocol needs are not given, or cannot be read.
    """
    if protocol.data == "faces":
        return Judges.shipped(folder)
    needed = {"--face-parser (79999_iter.pth)": face_parser, "--inception": inception, "--clip": clip}
    missing = [option for option, value in needed.items() if value is None]
    if missing:
        raise InputError(f"{protocol.name} needs {', '.join(missing)}; docs/benchmark.md says where they come from")
    return photograph_judges(face_parser, inception, clip)


def photograph_judges(face_parser: Path | None, inception: str | None, clip: str | None) -> Judges:
    """BiSeNet, InceptionV3 and CLIP, those of which the weights are given.

    Raises:
        InputError: they cannot be read.
    """
    return Judges(
        parser=None if face_parser is None else BiSeNet.from_pretrained(face_parser),
        clip=None if clip is None else Clip.from_pretrained(clip),
        extractor=None if inception is None else inception_features(inception),
    )
