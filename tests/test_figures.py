import numpy as np
import pytest
from PIL import Image

from codiff.figures import (
    COLOURS,
    MARGIN,
    Card,
    below,
    beside,
    colours_of,
    evenly,
    fitted,
    full_colour,
    grid,
    heat,
    influence_overlays,
    influence_strips,
    legend,
    on_paper,
    overlay,
    overview,
    strip,
    table,
    words,
    wrap,
)

WHITE = (255, 255, 255)


def plain(colour: tuple[int, int, int] = (40, 80, 120), side: int = 16) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def test_wrap_breaks_between_words_and_loses_none() -> None:
    text = "This man has a long beard. He is in his sixties."
    rows = wrap(text, 120)
    assert len(rows) > 1
    assert " ".join(rows) == text


def test_wrap_shows_what_it_cuts() -> None:
    assert wrap("one two three four five six seven", 60, lines=1)[0].endswith("...")
    assert wrap("w" * 300, 100)[0].endswith("...")
    assert wrap("", 100) == [""]


def test_words_are_as_wide_as_asked_and_as_high_as_needed() -> None:
    short, long = words("a", 90), words("a " * 80, 90)
    assert short.width == long.width == 90
    assert long.height > 3 * short.height
    assert short.getpixel((89, 0)) == WHITE


def test_beside_and_below_keep_every_picture() -> None:
    row = beside([plain(), plain(side=8)], gap=4, align=1.0)
    assert row.size == (16 + 4 + 8, 16)
    assert row.getpixel((22, 0)) == WHITE
    assert row.getpixel((22, 15)) == (40, 80, 120)
    assert below([plain(), plain(side=8)], gap=4).size == (16, 28)
    assert on_paper(plain()).size == (16 + 2 * MARGIN, 16 + 2 * MARGIN)


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 5), (6, 3), (7, 3), (8, 4), (12, 4), (64, 8)]
)
def test_grid_is_about_square_without_gaps_where_that_is_possible(count: int, columns: int) -> None:
    drawn = grid([plain()] * count, side=20)
    assert drawn.width == columns * 20 + (columns - 1) * 8


def test_grid_and_strip_write_captions_below() -> None:
    bare, captioned = grid([plain()] * 2, side=64), grid([plain()] * 2, side=64, captions=["seed 0", "seed 1"])
    assert captioned.height > bare.height
    assert strip([plain()] * 2, ["a", "b"], title="Title", side=64).height > captioned.height


def test_fitted_frames_pictures_so_that_white_ones_show() -> None:
    framed = fitted(Image.new("L", (8, 8), 255), 32)
    assert framed.size == (32, 32)
    assert framed.mode == "RGB"
    assert framed.getpixel((0, 0)) != WHITE
    assert framed.getpixel((16, 16)) == WHITE


def test_table_has_titles_at_the_left_and_above() -> None:
    rows = [[plain()] * 3] * 2
    bare = table(rows, side=32)
    titled = table(rows, side=32, row_titles=["text", "mask"], column_titles=["1", "2", "3"])
    assert bare.size == (3 * 32 + 2 * 8, 2 * 32 + 8)
    assert titled.width > bare.width
    assert titled.height > bare.height


def test_heat_runs_from_white_to_its_colour_and_keeps_cells() -> None:
    drawn = heat(np.array([[0.0, 1.0], [0.5, 2.0]]), (0, 100, 200), 8)
    assert drawn.size == (8, 8)
    assert drawn.getpixel((0, 0)) == WHITE
    assert drawn.getpixel((7, 0)) == drawn.getpixel((7, 7)) == (0, 100, 200)
    assert drawn.getpixel((0, 7)) == (128, 178, 228)


def test_overlay_colours_only_where_a_map_is_not_zero() -> None:
    left = np.zeros((4, 4))
    left[:, 0] = 1.0
    drawn = np.asarray(overlay(plain((128, 128, 128), 32), {"a": left}, {"a": (255, 0, 0)}), dtype=int)
    assert drawn.shape == (32, 32, 3)
    assert drawn[16, 0, 0] > drawn[16, 0, 1] + 50
    assert (drawn[:, 24:].max(axis=2) - drawn[:, 24:].min(axis=2)).max() <= 2


def test_colours_repeat_only_after_all_are_used() -> None:
    names = [str(number) for number in range(len(COLOURS) + 1)]
    colours = colours_of(names)
    assert len(set(colours.values())) == len(COLOURS)
    assert colours["0"] == colours[names[-1]]
    assert legend(colours, 120).height > legend({"0": COLOURS[0]}, 120).height


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [(3, 8, [0, 1, 2]), (50, 3, [0, 24, 49]), (9, 9, [*range(9)]), (5, 1, [4]), (1, 1, [0])],
)
def test_evenly_keeps_the_first_and_the_last(count: int, most: int, places: list[int]) -> None:
    assert evenly(count, most) == places


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_influence_figures_show_each_modality(modalities: int) -> None:
    maps = {f"modality{number}": np.full((20, 4, 4), 1 / modalities) for number in range(modalities)}
    strips = influence_strips(maps, [str(1000 - 50 * step) for step in range(20)])
    overlays = influence_overlays(plain(), {name: values.mean(axis=0) for name, values in maps.items()})
    assert strips.height > 112 * modalities
    assert overlays.width >= 192 * (modalities + 2)


def test_influences_above_one_are_drawn_to_scale() -> None:
    maps = {"a": np.full((1, 2, 2), 1.5), "b": np.full((1, 2, 2), 0.75)}
    assert full_colour(maps) == 1.5
    assert full_colour({"a": np.full((1, 2, 2), 0.5)}) == 1
    strips = influence_strips(maps, ["0"])
    colours = {strips.getpixel((x, y)) for x in range(0, strips.width, 4) for y in range(0, strips.height, 4)}
    full, half = (np.array(colour) for colour in colours_of(["a", "b"]).values())
    assert tuple(full.tolist()) in colours
    assert any(np.abs(np.array(colour) - (255 + half) / 2).max() <= 1 for colour in colours)


def test_overview_shows_conditions_beside_the_images() -> None:
    cards = [Card("text", "A man with a beard."), Card("mask: a.png", "mask of skin", plain((200, 0, 0), 128))]
    drawn = overview(cards, [plain(side=32)] * 4, [f"seed {seed}" for seed in range(4)], "4 steps", side=128)
    assert drawn.getpixel((0, 0)) == WHITE
    colours = {colour for _, colour in drawn.getcolors(maxcolors=1 << 20) or []}
    assert {(200, 0, 0), (40, 80, 120)} <= colours
