"""A report as sections of words, tables and figures, written as Markdown and as one HTML file that loads nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment
from PIL import Image

_MOST_BYTES = 3_300_000  # of all pictures in a page; a third more in base 64


@dataclass(frozen=True)
class Table:
    """Rows under headings; the first column names the rows, the others hold numbers or, where `worded`, words."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    worded: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG file with what it shows."""

    path: Path
    caption: str


@dataclass
class Section:
    """A part of a report."""

    title: str
    words: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def markdown(title: str, sections: Sequence[Section], home: Path) -> str:
    """The report as Markdown, with pictures by their paths from the folder `home`."""
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for paragraph in section.words:
            lines += [paragraph, ""]
        for table in section.tables:
            lines += [_row(table.headings), _row(["---"] * len(table.headings)), *map(_row, table.rows), ""]
            lines += [table.note, ""] if table.note else []
        for picture in section.pictures:
            path = picture.path.relative_to(home).as_posix()
            lines += [f"![{picture.caption}]({path})", "", f"*{picture.caption}*", ""]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def html(title: str, sections: Sequence[Section]) -> str:
    """The report as one HTML file; pictures are embedded, scaled down where all together are more than 3.3 MB."""
    paths = [picture.path for section in sections for picture in section.pictures]
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_source("report.html"))
    embedded = dict(zip(paths, _embedded(paths), strict=True))
    return template.render(title=title, sections=sections, embedded=embedded, style=_source("report.css"))


def _source(name: str) -> str:
    return files("codiff.evaluation").joinpath(name).read_text(encoding="utf-8")


def _embedded(paths: Sequence[Path]) -> list[str]:
    """Data URIs of PNG files."""
    pictures = []
    for path in paths:
        with Image.open(path, formats=["PNG"]) as picture:
            pictures.append(picture.convert("RGB"))
    coded = [_png(picture) for picture in pictures]
    while sum(map(len, coded)) > _MOST_BYTES:
        pictures = [picture.resize((picture.width * 4 // 5, picture.height * 4 // 5)) for picture in pictures]
        coded = [_png(picture) for picture in pictures]
    return [f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in coded]


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
