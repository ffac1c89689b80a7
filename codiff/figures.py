"""Figures that show pictures beside words, with Pillow alone: grids, strips, overlays and overviews on white."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Plane = NDArray[np.floating]
"""Values (h, w) in [0, 1]."""

PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 33, 36)
QUIET: Colour = (118, 122, 130)
FRAME: Colour = (224, 226, 230)

# Okabe and Ito's colours, told apart with every kind of colour vision, the most distinct ones first.
COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)

GAP, MARGIN = 8, 20
_LINE = 1.35  # height of a line of text, in sizes of its font


@dataclass(frozen=True)
class Card:
    """One condition in an overview.

    Attributes:
        title: its modality.
        text: the condition in words.
        picture: the condition drawn; None where only words show it.
    """

    title: str
    text: str
    picture: Image.Image | None = None


def colours_of(names: Sequence[str]) -> dict[str, Colour]:
    """A colour for each name, by its place."""
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def wrap(text: str, width: int, size: int = 13, lines: int | None = None) -> list[str]:
    """`text` in lines of at most `width` pixels; what is beyond `lines` lines is cut, shown by an ellipsis."""
    font = _font(size)
    rows: list[str] = []
    row = ""
    for word in (each[: width + 1] for each in text.split()):  # no letter is narrower than a pixel
        longer = f"{row} {word}" if row else word
        if row and font.getlength(longer) > width:
            rows.append(row)
            row = word
        else:
            row = longer
    rows.append(row)
    cut = lines is not None and len(rows) > lines
    rows = rows[:lines]
    if cut:
        rows[-1] += "..."
    return [_shortened(each, width, size) for each in rows]


def _shortened(row: str, width: int, size: int) -> str:
    """One line, cut where even a single word is wider than `width`."""
    font = _font(size)
    if len(row) <= width and font.getlength(row) <= width:
        return row
    kept = row.removesuffix("...")[:width]  # no letter is narrower than a pixel
    while len(kept) > 1 and font.getlength(f"{kept}...") > width:
        kept = kept[:-1]
    return f"{kept}..."


def words(
    text: str, width: int, *, size: int = 13, colour: Colour = INK, centred: bool = False, lines: int | None = None
) -> Image.Image:
    """A block of wrapped text: RGB (height as needed, `width`)."""
    rows = wrap(text, width, size, lines)
    height = math.ceil(size * _LINE)
    block = Image.new("RGB", (width, height * len(rows)), PAPER)
    draw, font = ImageDraw.Draw(block), _font(size)
    for number, row in enumerate(rows):
        left = (width - font.getlength(row)) / 2 if centred else 0
        draw.text((left, number * height), row, fill=colour, font=font)
    return block


def _text_width(text: str, size: int = 13) -> int:
    return math.ceil(_font(size).getlength(text)) + 1


def beside(pictures: Sequence[Image.Image], gap: int = GAP, align: float = 0.0) -> Image.Image:
    """Pictures from left to right; `align` 0 at their tops, 0.5 at their middles, 1 at their bottoms."""
    height = max(picture.height for picture in pictures)
    row = Image.new("RGB", (sum(picture.width for picture in pictures) + gap * (len(pictures) - 1), height), PAPER)
    left = 0
    for picture in pictures:
        row.paste(picture, (left, round(align * (height - picture.height))))
        left += picture.width + gap
    return row


def below(pictures: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Pictures from top to bottom, at the left."""
    width = max(picture.width for picture in pictures)
    column = Image.new("RGB", (width, sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)), PAPER)
    top = 0
    for picture in pictures:
        column.paste(picture, (0, top))
        top += picture.height + gap
    return column


def on_paper(picture: Image.Image, margin: int = MARGIN) -> Image.Image:
    """A picture with a white margin."""
    paper = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), PAPER)
    paper.paste(picture, (margin, margin))
    return paper


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """A picture scaled to (side, side), RGB, in a hairline frame so that white pictures show on white."""
    scaled = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    ImageDraw.Draw(scaled).rectangle((0, 0, side - 1, side - 1), outline=FRAME)
    return scaled


def grid(
    pictures: Sequence[Image.Image], *, columns: int | None = None, captions: Sequence[str] = (), side: int = 256
) -> Image.Image:
    """Pictures in rows of `columns` (about a square without), each scaled to `side` above its caption."""
    columns = columns or _columns(len(pictures))
    cells = []
    for number, picture in enumerate(pictures):
        parts = [fitted(picture, side)]
        if number < len(captions):
            parts.append(words(captions[number], side, size=12, colour=QUIET, centred=True))
        cells.append(below(parts, gap=3))
    return below([beside(cells[start : start + columns]) for start in range(0, len(cells), columns)])


def _columns(count: int) -> int:
    """Of a grid that is about a square, wider rather than with gaps in its last row."""
    least = math.ceil(math.sqrt(count))
    return next((columns for columns in range(least, 2 * least) if count % columns == 0), least)


def table(
    rows: Sequence[Sequence[Image.Image]],
    *,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    side: int = 128,
) -> Image.Image:
    """Rows of pictures, each scaled to `side`, with titles of rows at the left and of columns above."""
    left = max((_text_width(title) for title in row_titles), default=0)
    lines = []
    if column_titles:
        heads = [words(title, side, size=12, colour=QUIET, centred=True) for title in column_titles]
        lines.append(_titled(left, None, beside(heads)))
    for number, row in enumerate(rows):
        title = _middle(row_titles[number], left, side) if number < len(row_titles) else None
        below_row = captions[number] if number < len(captions) else ()
        lines.append(_titled(left, title, grid(row, columns=len(row), captions=below_row, side=side)))
    return below(lines)


def _titled(left: int, title: Image.Image | None, row: Image.Image) -> Image.Image:
    if not left:
        return row
    return beside([title or Image.new("RGB", (left, 1), PAPER), row], gap=GAP)


def _middle(text: str, width: int, height: int) -> Image.Image:
    """One line at the middle of (height, width)."""
    cell, line = Image.new("RGB", (width, height), PAPER), words(text, width)
    cell.paste(line, (0, (height - line.height) // 2))
    return cell


def strip(pictures: Sequence[Image.Image], captions: Sequence[str], *, title: str = "", side: int = 128) -> Image.Image:
    """One row of pictures, each scaled to `side` above its caption, under a title."""
    row = grid(pictures, columns=len(pictures), captions=captions, side=side)
    return below([words(title, row.width), row]) if title else row


def heat(values: Plane, colour: Colour, side: int) -> Image.Image:
    """A map (h, w) in [0, 1] from white (0) to `colour` (1), its cells kept visible: RGB (side, side)."""
    share = np.clip(values, 0, 1)[..., None]
    shades = np.rint((1 - share) * 255 + share * np.array(colour)).astype(np.uint8)
    return Image.fromarray(shades).resize((side, side), Image.Resampling.NEAREST)


def overlay(
    picture: Image.Image, maps: Mapping[str, Plane], colours: Mapping[str, Colour], strength: float = 0.6
) -> Image.Image:
    """A picture (h, w) in pale grey with maps (any height, any width) in [0, 1] over it, each in its own colour.

    A pixel takes `strength` of a map's colour where the map is 1; maps that sum to 1 mix.
    """
    grey = picture.convert("L").convert("RGB")
    base = 0.25 * 255 + 0.75 * np.asarray(grey, dtype=np.float64)  # (h, w, 3)
    mixed = base.copy()
    for name, values in maps.items():
        smooth = Image.fromarray(np.asarray(values, dtype=np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
        share = strength * np.clip(np.asarray(smooth), 0, 1)[..., None]
        mixed += share * (np.array(colours[name]) - base)
    return Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))


def legend(colours: Mapping[str, Colour], width: int) -> Image.Image:
    """Names beside patches of their colours, in as many lines as `width` needs."""
    entries = []
    for name, colour in colours.items():
        patch = Image.new("RGB", (12, 12), colour)
        label = words(name, min(width - 20, _text_width(name)), size=13)
        entries.append(beside([patch, label], gap=6, align=0.5))
    lines: list[list[Image.Image]] = [[]]
    for entry in entries:
        if lines[-1] and sum(each.width + 18 for each in lines[-1]) + entry.width > width:
            lines.append([])
        lines[-1].append(entry)
    return below([beside(line, gap=18) for line in lines], gap=2)


def influence_strips(
    influences: Mapping[str, Plane], timesteps: Sequence[str], *, most: int = 8, side: int = 112
) -> Image.Image:
    """Each modality's influence over the steps, a row each in its own colour, with its mean below each map.

    Args:
        influences: modality -> (steps, h, w), 0 or more; drawn full where they are 1 or more.
        timesteps: what each step is called.
        most: so many steps are shown, the first and the last among them.
    """
    colours = colours_of(list(influences))
    steps = evenly(len(timesteps), most)
    rows = [[heat(maps[step], colours[name], side) for step in steps] for name, maps in influences.items()]
    means = [[f"{maps[step].mean():.0%}" for step in steps] for maps in influences.values()]
    heads = [f"step {step + 1}, t {timesteps[step]}" for step in steps]
    drawn = table(rows, row_titles=list(influences), column_titles=heads, captions=means, side=side)
    note = "Influence of each modality on the noise estimate: white 0, full colour 1; the mean of each map below it."
    return on_paper(below([drawn, words(note, drawn.width, size=12, colour=QUIET)], gap=12))


def influence_overlays(picture: Image.Image, influences: Mapping[str, Plane], *, side: int = 192) -> Image.Image:
    """A picture, the strongest modality of each place over it, and each modality's influence (h, w), side by side."""
    colours = colours_of(list(influences))
    large = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    panels = {"image": large, "strongest": overlay(large, _strongest(influences), colours)}
    panels.update(
        {f"{name} {maps.mean():.0%}": overlay(large, {name: maps}, colours) for name, maps in influences.items()}
    )
    row = grid(list(panels.values()), columns=len(panels), captions=list(panels), side=side)
    note = "Mean influence over the steps, each modality in its colour."
    return on_paper(
        below(
            [row, beside([legend(colours, row.width // 2), words(note, row.width // 2, size=12, colour=QUIET)])], gap=12
        )
    )


def _strongest(maps: Mapping[str, Plane]) -> dict[str, Plane]:
    """The maps (h, w), each zero where another one is larger."""
    largest = np.max(list(maps.values()), axis=0)
    return {name: np.where(values == largest, values, 0) for name, values in maps.items()}


def overview(
    cards: Sequence[Card], pictures: Sequence[Image.Image], captions: Sequence[str], footer: str = "", side: int = 256
) -> Image.Image:
    """Conditions at the left, what came of them at the right in a grid about square, how it was made at the foot."""
    column = below([_drawn(card, width=max(160, side - 64)) for card in cards], gap=18)
    made = grid(pictures, captions=captions, side=side)
    rule = Image.new("RGB", (1, max(column.height, made.height)), FRAME)
    body = beside([column, rule, made], gap=MARGIN)
    if footer:
        body = below([body, words(footer, body.width, size=12, colour=QUIET)], gap=14)
    return on_paper(body)


def _drawn(card: Card, width: int) -> Image.Image:
    parts = [words(card.title, width, size=12, colour=QUIET)]
    if card.picture is not None:
        parts.append(fitted(card.picture, width))
    size, colour = (12, QUIET) if card.picture is not None else (15, INK)
    parts.append(words(card.text, width, size=size, colour=colour, lines=4 if card.picture is not None else 14))
    return below(parts, gap=4)


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the places 0..count - 1, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]
