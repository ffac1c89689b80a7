"""Identity of drawn faces against the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from codiff import InputError
from codiff.data.face_attributes import Face, sample_face
from codiff.data.face_portrait import CLOTH_COLOURS
from codiff.data.face_renderer import render
from codiff.evaluation.identity_error import REGIONS, identity_error, identity_estimates
from codiff.pixels import from_uint8

SIZE = 64


def plain(index: int = 0) -> Face:
    """A face that shows all regions."""
    face = sample_face(index)
    layout = replace(face.layout, hair_style="long", hat="none", glasses="none")
    return replace(face, layout=layout, description=replace(face.description, gender="man", age="young", beard="none"))


def drawn(faces: Sequence[Face], size: int = SIZE) -> Tensor:
    return from_uint8(np.stack([render(face, size).image for face in faces]))


FACES = [plain(index) for index in range(2)]


def test_the_truth_has_no_error() -> None:
    errors = identity_error(drawn(FACES), FACES)
    assert set(errors) == set(REGIONS)
    for values in errors.values():
        assert values.tolist() == [0.0] * len(FACES)
    assert {region: estimate.high for region, estimate in identity_estimates(errors).items()} == dict.fromkeys(
        REGIONS, 0
    )


@pytest.mark.parametrize("region", REGIONS)
def test_one_changed_colour_shows_in_its_region(region: str) -> None:
    others = [replace(face, identity=replace(face.identity, skin=0.2, hair=0, eyes=0, cloth=0)) for face in FACES]
    changed = {
        "skin": [replace(face, identity=replace(face.identity, skin=0.9)) for face in others],
        "hair": [replace(face, identity=replace(face.identity, hair=5)) for face in others],
        "eyes": [replace(face, identity=replace(face.identity, eyes=2)) for face in others],
        "cloth": [replace(face, identity=replace(face.identity, cloth=6)) for face in others],
    }
    errors = identity_error(drawn(changed[region], 128), others)
    means = {name: float(values.mean()) for name, values in errors.items()}
    assert means[region] > 20
    # the rims of eyes and hair are mixed with what is around them
    assert {name: value for name, value in means.items() if name != region and value > 4} == {}


def test_the_error_is_in_levels() -> None:
    face = replace(FACES[0], identity=replace(FACES[0].identity, cloth=0))
    painted = render(face, SIZE).image.copy()
    other = replace(face, identity=replace(face.identity, cloth=1))
    changed = (painted.astype(int) != render(other, SIZE).image).any(axis=2)
    painted[changed] = np.clip(painted[changed].astype(int) + 10, 0, 255)
    assert max(CLOTH_COLOURS[0]) < 245 * 0.8  # so that nothing is clipped, highlights apart
    error = identity_error(from_uint8(painted[None]), [face])["cloth"]
    assert float(error) == pytest.approx(10, abs=0.5)


def test_a_beard_is_not_held_against_the_skin() -> None:
    wanted = [replace(face, description=replace(face.description, beard="long", age="fifties")) for face in FACES]
    without = [replace(face, description=replace(face.description, beard="none")) for face in wanted]
    assert identity_error(drawn(without), wanted)["skin"].max() < 10


def test_what_does_not_show_is_not_counted() -> None:
    bald = replace(FACES[0], layout=replace(FACES[0].layout, hair_style="bald"))
    grey = replace(FACES[1], description=replace(FACES[1].description, age="seventies"))
    errors = identity_error(drawn([bald, grey]), [bald, grey])
    assert errors["hair"].isnan().all()
    assert set(identity_estimates(errors)) == set(REGIONS) - {"hair"}
    assert identity_estimates(errors)["eyes"].mean == 0


def test_pairs_not_order() -> None:
    errors = identity_error(drawn(FACES[::-1]), FACES)
    moved = identity_error(drawn(FACES), FACES[::-1])
    for region in REGIONS:
        assert errors[region].min() > 0
        assert torch.equal(moved[region], errors[region].flip(0))


def test_copies_have_the_error_of_their_originals() -> None:
    once, twice = (identity_error(drawn(FACES[::-1]).repeat(n, 1, 1, 1), FACES * n) for n in (1, 2))
    for region in REGIONS:
        assert torch.equal(twice[region], once[region].repeat(2))


@pytest.mark.parametrize(
    ("images", "faces", "message"),
    [
        (torch.zeros(0, 3, 64, 64), [], "there are no images"),
        (torch.zeros(1, 3, 64, 64), FACES[:2], "1 images but 2 faces"),
        (torch.zeros(1, 3, 64, 32), FACES[:1], "drawn faces are square"),
        (torch.zeros(1, 3, 16, 16), FACES[:1], "32 pixels or more"),
    ],
)
def test_refusals(images: Tensor, faces: list[Face], message: str) -> None:
    with pytest.raises(InputError, match=message):
        identity_error(images, faces)
