"""Figures that show pictures beside words, with Pillow alone: grids, strips, overlays, overviews and curves; on white,
or clear, for pages that may be light or dark."""

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

DARK: Colour = (16, 18, 24)
"""Where shades begin."""

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
    text: str,
    width: int,
    *,
    size: int = 13,
    colour: Colour = INK,
    centred: bool = False,
    lines: int | None = None,
    clear: bool = False,
) -> Image.Image:
    """A block of wrapped text: RGB (height as needed, `width`), or RGBA without paper where it is to be clear."""
    rows = wrap(text, width, size, lines)
    height = math.ceil(size * _LINE)
    block = (
        blank((width, height * len(rows)), colour) if clear else Image.new("RGB", (width, height * len(rows)), PAPER)
    )
    draw, font = ImageDraw.Draw(block), _font(size)
    for number, row in enumerate(rows):
        left = (width - font.getlength(row)) / 2 if centred else 0
        draw.text((left, number * height), row, fill=colour, font=font)
    return block


def _text_width(text: str, size: int = 13) -> int:
    return math.ceil(_font(size).getlength(text)) + 1


def blank(size: tuple[int, int], colour: Colour = QUIET) -> Image.Image:
    """Nothing at all, RGBA (height, width), for drawing in one colour: edges that are smoothed get no other one."""
    return Image.new("RGBA", size, (*colour, 0))


def _sheet(size: tuple[int, int], pictures: Sequence[Image.Image]) -> Image.Image:
    """Paper for pictures; none where one of them has none."""
    return blank(size) if any(picture.mode == "RGBA" for picture in pictures) else Image.new("RGB", size, PAPER)


def beside(pictures: Sequence[Image.Image], gap: int = GAP, align: float = 0.0) -> Image.Image:
    """Pictures from left to right; `align` 0 at their tops, 0.5 at their middles, 1 at their bottoms."""
    height = max(picture.height for picture in pictures)
    row = _sheet((sum(picture.width for picture in pictures) + gap * (len(pictures) - 1), height), pictures)
    left = 0
    for picture in pictures:
        row.paste(picture, (left, round(align * (height - picture.height))))
        left += picture.width + gap
    return row


def below(pictures: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Pictures from top to bottom, at the left."""
    width = max(picture.width for picture in pictures)
    column = _sheet((width, sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)), pictures)
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


def shades(colour: Colour) -> NDArray[np.uint8]:
    """256 shades (256, 3) from dark by `colour` to nearly white, for maps on light and on dark pages."""
    light = 0.15 * np.array(colour) + 0.85 * 255
    stops = np.array([DARK, colour, light], dtype=np.float64)
    place = np.linspace(0, 1, 256)
    return np.rint([np.interp(place, (0, 0.65, 1), stops[:, each]) for each in range(3)]).astype(np.uint8).T


def shaded(values: Plane, colour: Colour, side: int, most: float = 1.0) -> Image.Image:
    """A map (h, w) from dark (0) by `colour` to nearly white (`most`), its cells kept visible: RGB (side, side)."""
    level = np.rint(255 * np.clip(np.asarray(values) / most, 0, 1)).astype(np.uint8)
    return Image.fromarray(shades(colour)[level]).resize((side, side), Image.Resampling.NEAREST)


def scale(colour: Colour, height: int, ticks: Mapping[str, float], size: int = 13) -> Image.Image:
    """The bar that tells what shades of `colour` stand for, with words at some of its places (0 below, 1 above)."""
    line, thick = math.ceil(size * _LINE), max(8, 2 * size // 3)
    wide = max(_text_width(word, size) for word in ticks)
    bar = Image.fromarray(shades(colour)[::-1, None]).resize((thick, height), Image.Resampling.BILINEAR)
    drawn = blank((thick + size // 2 + wide, height))
    drawn.paste(bar, (0, 0))
    for word, place in ticks.items():
        top = round((1 - place) * height - line / 2)
        label = words(word, wide, size=size, colour=QUIET, clear=True)
        drawn.paste(label, (thick + size // 2, min(max(top, 0), height - line)))
    return drawn


def curves(
    lines: Mapping[str, Sequence[float]],
    colours: Mapping[str, Colour],
    *,
    size: tuple[int, int],
    ends: tuple[str, str],
    marked: int | None = None,
    letters: int = 24,
) -> Image.Image:
    """Shares over steps as smooth lines under their names, on a grid of percentages: RGBA without paper.

    Args:
        lines: name -> one share a step, 0 or more.
        size: width of all, height of the grid.
        ends: what the first and the last step are called.
        marked: a step with a rule and dots, whose shares stand beside the names.
        letters: height of letters in pixels.
    """
    highest = max(max(values) for values in lines.values())
    marks = [each / 4 for each in range(max(1, math.ceil(4 * highest - 1e-6)) + 1)]
    numbers = _numbers([mark for mark in marks if len(marks) < 7 or mark % 1 == 0], marks[-1], size[1], letters)
    plot = _Plot((size[0] - numbers.width, size[1]), len(next(iter(lines.values()))), marks[-1], letters / 6)
    plot.grid(marks, marked)
    for name, values in lines.items():
        plot.line(values, colours[name], marked)
    framed = _sheet((size[0], numbers.height), [numbers])
    framed.paste(numbers, (0, 0))
    framed.paste(plot.drawn(), (numbers.width, (numbers.height - size[1]) // 2))
    told = {name: "" if marked is None else f" {values[marked]:.0%}" for name, values in lines.items()}
    names = legend({f"{name}{told[name]}": colours[name] for name in lines}, size[0], letters, clear=True)
    return below([names, framed, _ends(ends, numbers.width, size[0], letters)], gap=letters // 3)


def _numbers(marks: Sequence[float], top: float, height: int, letters: int) -> Image.Image:
    """Percentages at the left of a grid of this height, half a line higher and lower than it."""
    line = math.ceil(letters * _LINE)
    labels = [
        words(f"{m:.0%}", _text_width(f"{m:.0%}", letters), size=letters, colour=QUIET, clear=True) for m in marks
    ]
    column = blank((max(label.width for label in labels) + letters // 2, height + line))
    for mark, label in zip(marks, labels, strict=True):
        column.paste(label, (column.width - letters // 2 - label.width, round((1 - mark / top) * (height - 1))))
    return column


def _ends(ends: tuple[str, str], left: int, width: int, letters: int) -> Image.Image:
    """What stands below the first and the last step of a grid from `left` to `width`."""
    first, last = (words(end, _text_width(end, letters), size=letters, colour=QUIET, clear=True) for end in ends)
    foot = blank((width, first.height))
    foot.paste(last, (width - last.width, 0))
    foot.paste(first, (left, 0))
    return foot


class _Plot:
    """Lines over steps, drawn four times as large as they are shown, so that their edges are smooth.

    Args:
        size: width, height.
        count: of steps.
        top: share at the upper edge; 0 is at the lower one.
        stroke: width of lines.
    """

    _FINER = 4

    def __init__(self, size: tuple[int, int], count: int, top: float, stroke: float) -> None:
        self._size, self._top, self._stroke = size, top, round(stroke * self._FINER)
        self._sheet = blank((size[0] * self._FINER, size[1] * self._FINER))
        inset = 3 * self._stroke  # dots at both ends are whole
        width = self._sheet.width
        self._across = np.linspace(inset, width - inset, count) if count > 1 else np.array([width / 2])

    def grid(self, marks: Sequence[float], marked: int | None) -> None:
        draw = ImageDraw.Draw(self._sheet)
        for mark in marks:
            draw.line([(0, self._down(mark)), (self._sheet.width, self._down(mark))], (*QUIET, 70), self._stroke // 3)
        if marked is not None:
            place = float(self._across[marked])
            draw.line([(place, 0), (place, self._sheet.height)], (*QUIET, 160), self._stroke // 2)

    def line(self, values: Sequence[float], colour: Colour, marked: int | None) -> None:
        draw, points = ImageDraw.Draw(self._sheet), self._points(values)
        draw.line(points, (*colour, 255), self._stroke, joint="curve")
        if marked is not None or len(points) == 1:
            draw.circle(points[marked or 0], 2 * self._stroke, (*colour, 255))

    def drawn(self) -> Image.Image:
        return self._sheet.resize(self._size, Image.Resampling.LANCZOS)

    def _down(self, share: float) -> float:
        return (1 - share / self._top) * (self._sheet.height - 1)

    def _points(self, values: Sequence[float]) -> list[tuple[float, float]]:
        return [(float(x), self._down(value)) for x, value in zip(self._across, values, strict=True)]


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


def legend(colours: Mapping[str, Colour], width: int, size: int = 13, *, clear: bool = False) -> Image.Image:
    """Names beside patches of their colours, in as many lines as `width` needs; in quiet letters where it is clear."""
    entries = []
    for name, colour in colours.items():
        patch = Image.new("RGB", (size - 1, size - 1), colour)
        wide = min(width - size - 7, _text_width(name, size))
        label = words(name, wide, size=size, colour=QUIET if clear else INK, clear=clear)
        entries.append(beside([patch, label], gap=size // 2, align=0.5))
    gap = 18 * size // 13
    lines: list[list[Image.Image]] = [[]]
    for entry in entries:
        if lines[-1] and sum(each.width + gap for each in lines[-1]) + entry.width > width:
            lines.append([])
        lines[-1].append(entry)
    return below([beside(line, gap=gap) for line in lines], gap=2)


def full_colour(maps: Mapping[str, Plane]) -> float:
    """The influence that is drawn in full colour: 1, or the largest where rules do not share out one unit."""
    return max(1.0, *(float(values.max()) for values in maps.values()))


def influence_strips(
    influences: Mapping[str, Plane], timesteps: Sequence[str], *, most: int = 8, side: int = 112
) -> Image.Image:
    """Each modality's influence over the steps, a row each in its own colour, with its mean below each map.

    Args:
        influences: modality -> (steps, h, w), 0 or more.
        timesteps: what each step is called.
        most: so many steps are shown, the first and the last among them.
    """
    colours = colours_of(list(influences))
    steps = evenly(len(timesteps), most)
    full = full_colour(influences)
    rows = [[heat(maps[step] / full, colours[name], side) for step in steps] for name, maps in influences.items()]
    means = [[f"{maps[step].mean():.0%}" for step in steps] for maps in influences.values()]
    heads = [f"step {step + 1}, t {timesteps[step]}" for step in steps]
    drawn = table(rows, row_titles=list(influences), column_titles=heads, captions=means, side=side)
    note = (
        f"Influence of each modality on the noise estimate: white 0, full colour {full:.0%}; "
        "the mean of each map below it."
    )
    return on_paper(below([drawn, words(note, drawn.width, size=12, colour=QUIET)], gap=12))


def influence_overlays(picture: Image.Image, influences: Mapping[str, Plane], *, side: int = 192) -> Image.Image:
    """A picture, the strongest modality of each place over it, and each modality's influence (h, w), side by side."""
    colours = colours_of(list(influences))
    large = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    full = full_colour(influences)
    shares = {name: maps / full for name, maps in influences.items()}
    panels = {"image": large, "strongest": overlay(large, _strongest(shares), colours)}
    panels.update(
        {
            f"{name} {influences[name].mean():.0%}": overlay(large, {name: maps}, colours)
            for name, maps in shares.items()
        }
    )
    row = grid(list(panels.values()), columns=len(panels), captions=list(panels), side=side)
    note = f"Mean influence over the steps, each modality in its colour, full at {full:.0%}."
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
