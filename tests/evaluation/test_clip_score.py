"""CLIP scores of a tiny CLIP, against transformers' own logits and against a cosine worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from codiff import InputError, InputNotice
from codiff.evaluation.clip_score import Clip, clip_score

SIDE, WIDTH, LENGTH = 16, 8, 12
CAPTIONS = ["a man", "a bad name", "man"]


def tokenizer() -> CLIPTokenizer:
    letters = "abdemn"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "ma", "man</w>", "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=[("m", "a"), ("ma", "n</w>")]
    )


def model() -> CLIPModel:
    size = len(tokenizer())
    common = {
        "hidden_size": WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 4,
    }
    text = {"vocab_size": size, "max_position_embeddings": LENGTH, "bos_token_id": size - 2, "eos_token_id": size - 1}
    vision = {"image_size": SIDE, "patch_size": 8}
    torch.manual_seed(0)
    return CLIPModel(
        CLIPConfig(text_config={**common, **text}, vision_config={**common, **vision}, projection_dim=4)
    ).eval()


def processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("clip")
    for part in (model(), tokenizer(), processor()):
        part.save_pretrained(home)
    return home


def images(count: int, side: int = 24) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_equals_the_models_own_logits(folder: Path) -> None:
    clip, pictures = Clip.from_pretrained(folder), images(3)
    assert len(clip.tokenizer) == 16  # of a vocabulary that was read, not of the default of 2
    bytes_ = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    inputs = {
        **tokenizer()(CAPTIONS, padding=True, return_tensors="pt"),
        **processor()(list(bytes_), input_data_format="channels_last", return_tensors="pt"),
    }
    with torch.no_grad():
        own = model()(**inputs)
    cosine = own.logits_per_image.diagonal() / model().logit_scale.exp()
    torch.testing.assert_close(clip_score(clip, pictures, CAPTIONS), 100 * cosine, rtol=1e-4, atol=1e-4)


def test_equals_a_cosine_by_hand() -> None:
    network = model()
    with torch.no_grad():  # the last layers forget their input and answer (1, 0, ...): projections then say the rest
        for norm in (network.text_model.final_layer_norm, network.vision_model.post_layernorm):
            norm.weight.zero_()
            norm.bias.copy_(torch.eye(WIDTH)[0])
        for projection, answer in (
            (network.text_projection, [3.0, 4, 0, 0]),
            (network.visual_projection, [8.0, 0, 6, 0]),
        ):
            projection.weight.zero_()
            projection.weight[:, 0] = torch.tensor(answer)
    score = clip_score(Clip(network, tokenizer(), processor()), images(2), ["a man", "name"])
    # (3, 4, 0, 0) . (8, 0, 6, 0) / (5 * 10) = 24 / 50
    torch.testing.assert_close(score, torch.tensor([48.0, 48.0]))


def test_follows_pairs_and_not_their_order(folder: Path) -> None:
    clip, pictures, order = Clip.from_pretrained(folder), images(3), [2, 0, 1]
    plain = clip_score(clip, pictures, CAPTIONS)
    moved = clip_score(clip, pictures[order], [CAPTIONS[index] for index in order])
    torch.testing.assert_close(moved, plain[order], rtol=1e-4, atol=1e-4)
    doubled = clip_score(clip, pictures.repeat(2, 1, 1, 1), CAPTIONS * 2)
    torch.testing.assert_close(doubled, plain.repeat(2), rtol=1e-4, atol=1e-4)


def test_long_captions_are_cut_with_a_notice(folder: Path) -> None:
    clip = Clip.from_pretrained(folder)
    long = "man " * 30
    with pytest.warns(InputNotice, match="some captions are longer than CLIP's 12 tokens"):
        score = clip_score(clip, images(2), [long, "man"])
    assert score.isfinite().all()


@pytest.mark.parametrize(
    ("count", "captions", "message"),
    [
        (0, [], "there are no images"),
        (2, ["a man"], "2 images but 1 captions"),
        (2, "ab", "2 images but 1 captions in a list"),
        (1, ["  "], "missing or empty"),
    ],
)
def test_refuses_what_does_not_pair(folder: Path, count: int, captions: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        clip_score(Clip.from_pretrained(folder), images(count), captions)


def test_refuses_a_vocabulary_that_was_not_read() -> None:
    with pytest.raises(InputError, match="2 tokens, the CLIP model 16"):
        Clip(model(), CLIPTokenizer(), processor())


def test_refuses_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no CLIP model"):
        Clip.from_pretrained(tmp_path)
