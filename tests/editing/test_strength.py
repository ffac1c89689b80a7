"""The search for a strength, its judges and its curve."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from codiff import AttributeClassifier, InputError
from codiff.editing.curve import _draw_trade_off, curve_picture
from codiff.editing.judges import ChangedParts, LikeReferences, SameColours
from codiff.editing.strength import Judges, StrengthSearch, find_strength, told

GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
USUAL = 0.75


def grey(value: float) -> Image.Image:
    return Image.new("RGB", (4, 4), (round(255 * value),) * 3)


def brightness(images: Tensor) -> Tensor:
    """(batch,) in [0, 1]."""
    return (images.mean(dim=(1, 2, 3)) + 1) / 2


def search(agreement: Mapping[float, float], identity: Mapping[float, float], *, each: bool = False) -> StrengthSearch:
    """Over drawings whose brightness is their strength, judged by tables."""

    def table(values: Mapping[float, float]) -> object:
        known = np.array(sorted(values))
        return lambda images: torch.tensor(np.interp(brightness(images), known, [values[key] for key in known]))

    judges = Judges({"a": table(agreement)}, table(identity))  # type: ignore[dict-item, arg-type]
    return find_strength(lambda strengths: [grey(strengths["a"])], judges, ["a"], GRID, USUAL, each=each)


def test_the_knee_is_where_identity_begins_to_fall() -> None:
    found = search(
        {0.0: 0.1, 0.25: 0.3, 0.5: 0.8, 0.75: 0.85, 1.0: 0.9}, {0.0: 1.0, 0.25: 0.98, 0.5: 0.95, 0.75: 0.6, 1.0: 0.3}
    )
    assert [trial.strengths["a"] for trial in found.common] == list(GRID)
    assert found.best.strengths == {"a": 0.5}
    assert found.varied == []


def test_where_nothing_is_lost_by_obeying_the_most_is_taken() -> None:
    assert search({0.0: 0.1, 1.0: 0.9}, {0.0: 0.7, 1.0: 0.7}).best.strengths == {"a": 1.0}


@pytest.mark.parametrize("identity", [0.1, 0.9])
def test_where_judges_see_no_difference_the_usual_is_taken(identity: float) -> None:
    seen = search({0.0: 0.70, 1.0: 0.75}, {0.0: 0.9, 1.0: identity})
    assert seen.decided
    unseen = search({0.0: 0.73, 0.5: 0.729, 1.0: 0.736}, {0.0: 0.9, 1.0: identity}, each=True)
    assert not unseen.decided
    assert unseen.best.strengths == {"a": USUAL}
    assert unseen.varied == []


def test_the_curve_shows_no_noise_as_if_it_were_much() -> None:
    from matplotlib.figure import Figure

    noise = search({0.0: 0.73, 0.5: 0.729, 1.0: 0.736}, {0.0: 0.9, 1.0: 0.1})
    axis = Figure().subplots()
    _draw_trade_off(axis, noise)
    low, high = axis.get_ylim()
    assert high - low >= 0.2
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("keeps", "obeys")
    assert "no difference" in axis.get_title()
    labels = [label.get_text() for label in axis.texts]
    assert labels[0] == "0.75"
    assert len(labels) == len(set(labels)) == len(GRID)


def test_labels_of_the_curve_keep_apart() -> None:
    from matplotlib.figure import Figure

    near = search({0.0: 0.1, 0.75: 0.11, 1.0: 0.9}, {0.0: 0.9, 0.75: 0.89, 1.0: 0.1})
    axis = Figure().subplots()
    _draw_trade_off(axis, near)
    assert [label.get_text() for label in axis.texts] == [told(near.best.strengths), "1"]


def test_each_modality_can_have_its_own_strength() -> None:
    """One obeys at once and costs identity; the other costs nothing."""
    drawn: list[dict[str, float]] = []

    def draw(strengths: Mapping[str, float]) -> list[Image.Image]:
        drawn.append(dict(strengths))
        picture = np.zeros((4, 4, 3), np.uint8)
        picture[:2], picture[2:] = round(255 * strengths["a"]), round(255 * strengths["b"])
        return [Image.fromarray(picture)]

    judges = Judges(
        {
            "a": lambda images: 1 - (1 - brightness(images[..., :2, :])) ** 4,
            "b": lambda images: brightness(images[..., 2:, :]),
        },
        lambda images: 1 - brightness(images[..., :2, :]) ** 2,
    )
    found = find_strength(draw, judges, ["a", "b"], GRID, USUAL, each=True)
    assert len(found.common) == len(GRID)
    assert found.varied
    assert found.best.strengths["b"] > found.best.strengths["a"]
    assert drawn == [trial.strengths for trial in (*found.common, *found.varied)]


@pytest.mark.parametrize("candidates", [[], [0.5], [0.5, 0.2], [0.5, 0.5]])
def test_candidates_rise(candidates: list[float]) -> None:
    judges = Judges({"a": brightness}, brightness)
    with pytest.raises(InputError, match="two or more strengths in rising order"):
        find_strength(lambda _: [grey(0)], judges, ["a"], candidates, USUAL)


def test_somebody_judges() -> None:
    with pytest.raises(InputError, match="nobody judges"):
        find_strength(lambda _: [grey(0)], Judges({}, brightness), ["a"], GRID, USUAL)


def test_the_curve_is_drawn() -> None:
    found = search({0.0: 0.0, 1.0: 1.0}, {0.0: 1.0, 1.0: 0.0})
    picture = curve_picture(found, "alpha")
    assert picture.mode == "RGB"
    assert len(set(picture.get_flattened_data())) > 10


def test_strengths_in_words() -> None:
    assert told({"text": 0.5, "mask": 0.5}) == "0.5"
    assert told({"text": 0.5, "mask": 1.25}) == "text 0.5, mask 1.25"


class Halves:
    """A parser that sees one part above and another below."""

    def parse(self, images: Tensor) -> Tensor:
        labels = torch.zeros(images.shape[0], *images.shape[2:], dtype=torch.int64)
        labels[:, images.shape[2] // 2 :] = 1
        return labels


def test_same_colours() -> None:
    photo = torch.zeros(1, 3, 8, 8)
    judge = SameColours(Halves(), photo)
    changed, speck = photo.clone(), photo.clone()
    changed[:, :, 4:] = 0.5  # 64 levels of 128 in one of two parts
    speck[:, :, 0, 0] = 1.0
    scores = judge(torch.cat([photo, changed, speck]))
    torch.testing.assert_close(scores, torch.tensor([1.0, 1 - 63.75 / 128 / 2, 1.0]))


def test_parts_that_the_target_takes_away_make_nobody() -> None:
    photo = torch.zeros(1, 3, 8, 8)
    judge = SameColours(Halves(), photo, target=torch.zeros(8, 8, dtype=torch.int64))
    above, below = photo.clone(), photo.clone()
    above[:, :, :4] = 0.5
    below[:, :, 4:] = 0.5
    torch.testing.assert_close(judge(torch.cat([above, below])), torch.tensor([1 - 63.75 / 128, 1.0]))


class Reading:
    """A parser that reads classes from the red channel, ten to the whole range."""

    def parse(self, images: Tensor) -> Tensor:
        return (10 * images[:, 0]).round().long()


def test_every_part_that_changes_counts_the_same() -> None:
    before, after = torch.zeros(10, 10), torch.zeros(10, 10)
    before[:5] = 0.1  # a large part goes, and a small one
    before[9, :2] = 0.2
    after[7, 7] = 0.3  # another comes
    judge = ChangedParts(Reading(), before.expand(1, 3, 10, 10), (10 * after).round().long())
    assert {part: int(place.sum()) for part, place in judge.places.items()} == {0: 53, 1: 50, 2: 2, 3: 1}
    small_stays = after.clone()
    small_stays[9, :2] = 0.2
    scores = judge(torch.stack([before, after, small_stays])[:, None].expand(3, 3, 10, 10))
    torch.testing.assert_close(scores, torch.tensor([0.0, 1.0, (51 / 53 + 1 + 0 + 1) / 4]))


def test_where_the_photo_obeys_already_all_pixels_count() -> None:
    picture = torch.zeros(2, 3, 10, 10)
    picture[1, :, 0] = 0.1
    judge = ChangedParts(Reading(), picture[:1], torch.zeros(10, 10, dtype=torch.int64))
    torch.testing.assert_close(judge(picture), torch.tensor([1.0, 0.9]))


class Fixed(AttributeClassifier):
    """Reads from the red of the first pixel whether there is a beard, and knows nothing of age."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        red = 10 * images[:, 0, 0, 0]
        return {"beard": torch.stack([-red, red], dim=1), "age": torch.zeros(len(images), 2)}


def test_references_say_which_attributes_are_meant() -> None:
    classifier = Fixed({"beard": ("none", "long"), "age": ("young", "old")}, (8, 8, 8, 8, 8))
    bearded, shaven = torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4)
    judge = LikeReferences(classifier, bearded.expand(4, 3, 4, 4))
    assert judge.wanted == {"beard": 1}
    scores = judge(torch.cat([bearded, shaven]))
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)
    undecided = LikeReferences(classifier, torch.cat([bearded, shaven]))
    assert undecided.wanted.keys() == {"beard", "age"}
