"""Does a picture obey its caption? The cosine of CLIP's embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from codiff.errors import InputError, InputNotice
from codiff.evaluation.inputs import check_images
from codiff.pixels import to_uint8


class Clip:
    """CLIP (Radford et al., 2021, arXiv:2103.00020) with its tokenizer and its picture processor.

    Args:
        model: transformers' `CLIPModel`.
        tokenizer: of the model's vocabulary.
        processor: resizes, crops and normalises pictures as in training.

    Raises:
        InputError: a tokenizer of another vocabulary.
    """

    def __init__(self, model: Any, tokenizer: Any, processor: Any) -> None:
        known = model.config.text_config.vocab_size
        if len(tokenizer) != known:  # transformers 5 makes a vocabulary of 2 where the files are not read
            raise InputError(f"the tokenizer has {len(tokenizer)} tokens, the CLIP model {known}: give a whole folder")
        self.model, self.tokenizer, self.processor = model.eval(), tokenizer, processor
        self.max_tokens: int = model.config.text_config.max_position_embeddings

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Clip:
        """From a folder, or a hub id such as `openai/clip-vit-base-patch32`, as transformers saves it.

        Raises:
            InputError: no such folder or hub id, or incomplete.
        """
        try:
            return cls(
                CLIPModel.from_pretrained(source, dtype=torch.float32),
                CLIPTokenizer.from_pretrained(source),
                CLIPImageProcessorPil.from_pretrained(source),
            )
        except InputError:
            raise
        except Exception as error:  # transformers, its hub client and its readers share no class of error
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{source} is no CLIP model that can be read: {reason}") from error

    def check(self, captions: Sequence[str]) -> None:
        """Refuse captions that say nothing; tell where some are cut. Needs no images: ask before they are generated.

        Raises:
            InputError: no captions, or an empty one.
        """
        if not captions or not all(caption.strip() for caption in captions):
            raise InputError("captions are missing or empty; every image needs one")
        if any(len(ids) > self.max_tokens for ids in self.tokenizer(list(captions))["input_ids"]):
            message = f"some captions are longer than CLIP's {self.max_tokens} tokens and are cut"
            warnings.warn(message, InputNotice, stacklevel=3)

    @torch.no_grad()
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Embeddings (batch, d) of unit length."""
        tokens = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        found = self.model.get_text_features(
            input_ids=tokens["input_ids"].to(self.model.device),
            attention_mask=tokens["attention_mask"].to(self.model.device),
        )
        return functional.normalize(found.pooler_output, dim=1)

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Embeddings (batch, d) of unit length of images (batch, 3, h, w) in [-1, 1], which are rounded to bytes."""
        pixels = self.processor(list(to_uint8(images)), input_data_format="channels_last", return_tensors="pt")
        found = self.model.get_image_features(pixel_values=pixels["pixel_values"].to(self.model.device))
        return functional.normalize(found.pooler_output, dim=1)


def clip_score(clip: Clip, images: Tensor, captions: Sequence[str]) -> Tensor:
    """100 times the cosine between the embeddings of each picture and its caption: (batch,) in [-100, 100], higher is
    better; the percentage scale of Huang et al., arXiv:2304.10530. Absolute values depend on the CLIP that is asked.
    Hessel et al. (2021, arXiv:2104.08718) print 250 max(cosine, 0) instead.

    Args:
        images: (batch, 3, h, w) in [-1, 1].
        captions: one for each image.

    Raises:
        InputError: no images, captions that do not pair with them, or an empty one.
    """
    check_images(images)
    if isinstance(captions, str) or len(captions) != len(images):
        count = 1 if isinstance(captions, str) else len(captions)
        raise InputError(f"{len(images)} images but {count} captions in a list; every image needs one")
    clip.check(captions)
    return 100 * (clip.embed_images(images) * clip.embed_captions(captions)).sum(dim=1).cpu()
