"""Figures of what went on inside: what they show can be read off their pixels."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from codiff.figures import QUIET, beside, blank, colours_of, curves, legend, scale, shaded, shades, words
from codiff.web.inside import (
    FIRE,
    SIDE,
    conflict_maps,
    influence_curve,
    influence_maps,
    overlaid_influences,
)

MODALITIES = ("one", "two", "three")
COLOURS = colours_of(MODALITIES)
STEPS, BATCH, GRID = 4, 2, 8
PICTURE = Image.new("RGB", (32, 32), (200, 200, 200))


def halves(count: int = 2) -> dict[str, Tensor]:
    """The first modality decides the left half at the first step and nothing at the last one; the second one what is
    left; further ones nothing. The second picture of the batch is steady."""
    first = torch.zeros(STEPS, BATCH, 1, GRID, GRID)
    first[:, 0, 0, :, : GRID // 2] = torch.linspace(1, 0, STEPS)[:, None, None]
    first[:, 1] = 0.25
    nothing = torch.zeros_like(first)
    return dict(zip(MODALITIES[:count], [first, 1 - first, nothing][:count], strict=True))


def pixel(picture: Image.Image, across: float, down: float) -> tuple[int, ...]:
    """Of a map's square, by shares of its side."""
    found = picture.getpixel((round(across * SIDE), round(down * SIDE)))
    assert isinstance(found, tuple)
    return found


def luminance(colour: np.ndarray) -> np.ndarray:
    linear = np.where(colour <= 10, colour / 255 / 12.92, ((colour / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


class TestMaps:
    def test_each_modality_is_a_map_with_a_scale(self) -> None:
        maps = influence_maps(halves(), COLOURS, 0, 0)
        assert list(maps) == ["one: 50%", "two: 50%"]
        left, right = (tuple(shades(COLOURS["one"])[level]) for level in (255, 0))
        assert pixel(maps["one: 50%"], 0.25, 0.5)[:3] == left
        assert pixel(maps["one: 50%"], 0.75, 0.5)[:3] == right
        assert pixel(maps["two: 50%"], 0.75, 0.5)[:3] == tuple(shades(COLOURS["two"])[255])
        assert len({each.size for each in maps.values()}) == 1
        assert all(each.mode == "RGBA" and each.height == SIDE < each.width for each in maps.values())

    def test_steps_pictures_and_the_mean_differ(self) -> None:
        assert list(influence_maps(halves(), COLOURS, 0, STEPS - 1)) == ["one: 0%", "two: 100%"]
        assert list(influence_maps(halves(), COLOURS, 0, None)) == ["one: 25%", "two: 75%"]
        assert list(influence_maps(halves(), COLOURS, 1, 0)) == ["one: 25%", "two: 75%"]

    def test_influences_above_one_have_a_wider_scale_at_all_steps(self) -> None:
        added = {modality: 1.7 * share for modality, share in halves().items()}
        for step in range(STEPS):
            maps = list(influence_maps(added, COLOURS, 0, step).values())
            assert maps[0].width > next(iter(influence_maps(halves(), COLOURS, 0, step).values())).width - 1
        top = next(iter(influence_maps(added, COLOURS, 0, 0).values()))
        assert pixel(top, 0.25, 0.5)[:3] == tuple(shades(COLOURS["one"])[round(255 * 1.7 / 2)])


class TestOverlays:
    def test_only_who_decides_most_colours_a_place(self) -> None:
        found = overlaid_influences(PICTURE, halves(), COLOURS, 0, 0)
        assert list(found) == ["who decides most", "one", "two"]
        leading, one = found["who decides most"], found["one"]
        assert all(each.size == (SIDE, SIDE) for each in found.values())
        bare = pixel(one, 0.9, 0.5)
        assert len(set(bare)) == 1
        left, right = (np.array(pixel(leading, across, 0.5), float) for across in (0.1, 0.9))
        for found_colour, modality in ((left, "one"), (right, "two")):
            np.testing.assert_allclose(found_colour, 0.2 * bare[0] + 0.8 * np.array(COLOURS[modality]), atol=1.5)


class TestCurve:
    def picture(self, step: int | None, influences: dict[str, Tensor] | None = None) -> np.ndarray:
        return np.asarray(influence_curve(influences or halves(), COLOURS, 0, step))

    def seen(self, drawn: np.ndarray, modality: str) -> np.ndarray:
        """Where a modality's colour is below the names, bool (rows, columns)."""
        near = np.abs(drawn[60:, :, :3].astype(int) - COLOURS[modality]).max(axis=2) < 12
        return near & (drawn[60:, :, 3] > 200)

    def test_lines_fall_and_rise_with_the_means(self) -> None:
        drawn = self.picture(None)
        one, two = (
            [np.flatnonzero(self.seen(drawn, modality)[:, column]).mean() for column in (150, 500, 850)]
            for modality in MODALITIES[:2]
        )
        assert one[0] < one[1] < one[2]
        assert two[0] > two[1] > two[2]

    def test_the_step_is_marked_with_dots_and_values(self) -> None:
        plain, marked = self.picture(None), self.picture(1)
        assert plain.shape == marked.shape
        thick, thin = (self.seen(drawn, "one").sum(axis=0).max() for drawn in (marked, plain))
        assert thick > 2 * thin
        assert not np.array_equal(marked[:40], plain[:40])  # shares beside the names

    @pytest.mark.parametrize("background", [(255, 255, 255), (11, 15, 25)])
    def test_words_and_lines_are_seen_on_light_and_dark_pages(self, background: tuple[int, int, int]) -> None:
        page = float(luminance(np.array(background)))
        for colour in (QUIET, *COLOURS.values(), FIRE):
            shown = float(luminance(np.array(colour)))
            assert (max(shown, page) + 0.05) / (min(shown, page) + 0.05) >= 3, colour

    def test_smoothed_edges_take_no_other_colour(self) -> None:
        drawn = np.asarray(words("Wavy words", 200, size=26, colour=(200, 100, 50), clear=True))
        seen = drawn[drawn[..., 3] > 0]
        assert (seen[:, 3] < 255).any()
        assert (np.abs(seen[:, :3].astype(int) - (200, 100, 50)).max() <= 1).all()

    def test_one_step_and_influences_above_one(self) -> None:
        single = {modality: 2.6 * steps[:1] for modality, steps in halves().items()}
        for step in (None, 0):
            assert self.seen(self.picture(step, single), "two")[:, 400:600].any()


class TestConflict:
    def conflict(self) -> Tensor:
        found = torch.zeros(STEPS, BATCH, GRID, GRID)
        found[0, 0, :, GRID // 2 :] = 0.4
        found[1, 0] = 0.1
        return found

    def test_a_map_with_its_scale_and_over_the_picture(self) -> None:
        found = conflict_maps(self.conflict(), PICTURE, 0, 0)
        assert list(found) == ["disagreement: 0.20", "over the picture"]
        drawn, over = found.values()
        assert pixel(drawn, 0.25, 0.5)[:3] == tuple(shades(FIRE)[0])
        assert pixel(drawn, 0.75, 0.5)[:3] == tuple(shades(FIRE)[255])
        assert len(set(pixel(over, 0.1, 0.5))) == 1
        assert pixel(over, 0.9, 0.5)[0] > pixel(over, 0.9, 0.5)[1] + 50

    def test_the_scale_is_the_same_at_all_steps(self) -> None:
        found = conflict_maps(self.conflict(), PICTURE, 0, 1)
        assert pixel(next(iter(found.values())), 0.5, 0.5)[:3] == tuple(shades(FIRE)[round(255 * 0.25)])
        assert next(iter(conflict_maps(self.conflict(), PICTURE, 1, None))) == "disagreement: 0.00"


@pytest.mark.parametrize("modality", MODALITIES)
def test_shades_grow_lighter_all_the_way(modality: str) -> None:
    levels = luminance(shades(COLOURS[modality]).astype(float))
    assert (np.diff(levels) > -2e-4).all()  # but for rounding
    assert levels[0] < 0.01
    assert levels[-1] > 0.7


def test_a_scale_has_its_words_and_shades_in_place() -> None:
    drawn = scale(COLOURS["one"], 200, {"0%": 0.0, "100%": 1.0}, 20)
    pixels = np.asarray(drawn).astype(int)
    assert np.abs(pixels[[0, 199], 5, :3] - shades(COLOURS["one"])[[-1, 0]]).max() <= 2
    alpha = pixels[:, 30:, 3]
    assert alpha[:40].any()
    assert alpha[-40:].any()
    assert not alpha[60:-60].any()


def test_shaded_keeps_cells() -> None:
    drawn = np.asarray(shaded(np.array([[0.0, 2.0]]), COLOURS["one"], 10, 2.0))
    assert (drawn[:, :5] == shades(COLOURS["one"])[0]).all()
    assert (drawn[:, 5:] == shades(COLOURS["one"])[255]).all()


@pytest.mark.parametrize("draw", [blank, lambda size: legend(COLOURS, size[0], clear=True)])
def test_clear_pictures_stay_clear_beside_others(draw: Callable[[tuple[int, int]], Image.Image]) -> None:
    row = beside([draw((300, 10)), PICTURE])
    assert row.mode == "RGBA"
    assert row.getpixel((row.width - 1, 0)) == (200, 200, 200, 255)
    assert not np.asarray(row)[-1, : row.width - PICTURE.width, 3].any()


@pytest.mark.parametrize(("top", "labels"), [(0.2, 2), (0.9, 5), (2.0, 3), (5.0, 6)])
def test_numbers_beside_the_grid_keep_apart(top: float, labels: int) -> None:
    drawn = curves({"one": [top, 0.1]}, COLOURS, size=(400, 240), ends=("a", "b"))
    written = np.asarray(drawn)[41 : 41 + 273, :40, 3].any(axis=1).astype(int)  # below the names, above the ends
    assert np.count_nonzero(np.diff(np.concatenate([[0], written])) == 1) == labels
