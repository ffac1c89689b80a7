"""The model that ships with codiff does what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from codiff import AttributeClassifier, CollaborativePipeline, FaceParser, generators
from codiff.composition import learned_rules, rule
from codiff.data.faces import ProceduralFaces
from codiff.evaluation.attribute_accuracy import attribute_accuracy
from codiff.evaluation.mask_accuracy import mask_accuracy
from codiff.model_files import find_model, verify_checksums
from codiff.pixels import from_uint8

PROJECT = Path(__file__).parents[1]
REAL_MASK = PROJECT.parent / "shared" / "real" / "official_examples" / "27007.png"
CAPTION = "This man has a long beard. He is in his sixties."


@pytest.fixture(scope="module")
def pipe() -> CollaborativePipeline:
    pipe = CollaborativePipeline.from_pretrained("demo")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_package_is_whole_and_small() -> None:
    folder = find_model("demo")
    verify_checksums(folder)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 40e6
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".ckpt")]


@pytest.mark.parametrize("name", ["additive", "collaborative"])
def test_all_three_modalities_together(pipe: CollaborativePipeline, name: str) -> None:
    """Its dynamic diffusers know both learned rules; the additive one is the default."""
    assert learned_rules(pipe.dynamic_diffusers) == ("additive", "collaborative")
    face = ProceduralFaces("validation")[0]
    assert pipe.modalities == ["text", "mask", "sketch"]
    composition = None if name == "additive" else rule(name, pipe.collaborators, pipe.dynamic_diffusers)
    out = pipe(
        face.conditions,
        num_inference_steps=4,
        composition=composition,
        generator=generators(0, 2),
        return_influences=True,
    )
    assert [image.size for image in out.images] == [(128, 128)] * 2
    assert out.influences is not None
    influences = torch.stack(list(out.influences.values()))
    sums_to_one = torch.allclose(influences.sum(dim=0), torch.ones_like(influences[0]), atol=1e-5)
    assert sums_to_one is (name == "collaborative")
    assert float(influences.min()) > 0
    assert float(out.influences["mask"].std()) > 0.01  # influences vary over pixels and steps


def test_layout_follows_the_mask(pipe: CollaborativePipeline) -> None:
    """The parser reads the mask's own layout from the image better than that of another face."""
    parser = FaceParser.from_pretrained(find_model("demo") / "face_parser", torch_dtype=torch.float32).eval()
    faces = ProceduralFaces("validation")
    masks = [faces[item].mask for item in (0, 10, 18, 19)]
    images = pipe(
        {"mask": masks}, num_inference_steps=12, guidance_scale=2.0, generator=generators(0, 4), output_type="pt"
    ).images
    wanted = torch.from_numpy(np.stack(masks)).long()
    own = mask_accuracy(parser, images * 2 - 1, wanted).mean()
    other = mask_accuracy(parser, images * 2 - 1, wanted.roll(1, dims=0)).mean()
    assert own > other + 0.1


def test_judges_read_drawings() -> None:
    folder = find_model("demo")
    parser = FaceParser.from_pretrained(folder / "face_parser", torch_dtype=torch.float32).eval()
    classifier = AttributeClassifier.from_pretrained(folder / "attribute_classifier", torch_dtype=torch.float32).eval()
    faces = list(ProceduralFaces("validation", limit=60))
    images = from_uint8(np.stack([face.image for face in faces]))
    assert (
        float(mask_accuracy(parser, images, torch.from_numpy(np.stack([face.mask for face in faces])).long()).mean())
        > 0.96
    )
    truth = {name: [getattr(face.face.description, name) for face in faces] for name in ("beard", "age")}
    assert all(float(values.mean()) > 0.7 for values in attribute_accuracy(classifier, images, truth).values())


@pytest.mark.skipif(
    not REAL_MASK.exists(), reason="needs the real CelebAMask-HQ example masks, which are not part of the project"
)
def test_a_real_mask_of_512_pixels(pipe: CollaborativePipeline) -> None:
    out = pipe({"text": CAPTION, "mask": REAL_MASK}, num_inference_steps=2, generator=generators(0, 1))
    assert out.images[0].size == (128, 128)
