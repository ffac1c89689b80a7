"""Preparing a data set for training: resized, complete in itself, in a few large files instead of many small ones."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import ExifTags, Image

from codiff.data.celeba_captions import PAPER_ATTRIBUTES
from codiff.data.celeba_files import Entry
from codiff.data.celeba_hq import CelebAHQ, read_image, read_mask, read_sketch, split_indices
from codiff.data.edges import draw_edges
from codiff.data.extras import library
from codiff.data.prepared import INDEX, Format, Index, Settings, Shard, read_index, sha256, verify
from codiff.data.workers import count_workers, workers
from codiff.errors import InputError
from codiff.files import locked, recover, write_json, written_aside
from codiff.modalities.mask import MASK_PALETTE

OnProgress = Callable[[int, int], None]
Row = dict[str, Any]

_SUFFIXES: Mapping[Format, str] = {"parquet": "parquet", "webdataset": "tar"}
_GROUP = 8  # rows that Parquet stores, and readers read, together
_SAMPLES = 3  # rows that a forecast is made of


@dataclass(frozen=True)
class Cost:
    """A forecast: seconds of one processor, and bytes on disk."""

    seconds: float
    size: int


class Preparation:
    """CelebA-HQ, resized and put into shards.

    Each row has a name, a picture, captions (none of image 5380), the mask as a label PNG (index = class, in
    CelebAMask-HQ's palette) and a sketch. Pictures that are JPEG files of the right size already are taken as they are;
    others become PNG, without loss.

    Args:
        root: folder of the data; see `find_files` for the layouts.
        size: side of pictures, masks and sketches.
        shard_size: rows of a shard.
        format: "parquet", which `PreparedShards` and `datasets.load_dataset` read in any order, or "webdataset", tar
            files for streaming.
        limit: only the first so many of each split.
        captions: the caption file; one that lies with the data without.
        attributes: of which captions tell.
        keep_sketches: take the published sketches (32 x 32 pixels) instead of drawing new ones from the pictures.
        without: numbers of images that are left out, as those that `check` found damaged.

    Raises:
        InputError: nothing is found, there are no published sketches to keep, or a setting is wrong.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        size: int = 512,
        shard_size: int = 500,
        format: Format = "parquet",  # noqa: A002 - the usual word
        limit: int | None = None,
        captions: str | Path | None = None,
        attributes: Sequence[str] = PAPER_ATTRIBUTES,
        keep_sketches: bool = False,
        without: Iterable[int] = (),
    ) -> None:
        if shard_size < 1:
            raise InputError(f"a shard needs at least one row, not {shard_size}")
        if format not in get_args(Format):
            raise InputError(f"unknown format {format!r}; expected {' or '.join(get_args(Format))}")
        left_out = set(without)
        self.data = CelebAHQ(
            root,
            size=size,
            captions=captions,
            attributes=attributes,
            limit=limit,
            draw_sketches=not keep_sketches,
            without=left_out,
        )
        if keep_sketches and self.data.files.sketch_folder is None:
            raise InputError(
                f"no published sketches are in {root} (sketch/*/12.pt); without keep_sketches they are drawn"
            )
        self.format: Format = format
        self.shard_size = shard_size
        splits = split_indices(self.data.files.images, self.data.captions)
        self.splits = {
            split: [index for index in found if index not in left_out][:limit] for split, found in splits.items()
        }
        self.settings = Settings(
            size=size,
            shard_size=shard_size,
            limit=limit,
            attributes=tuple(attributes),
            sketches="drawn" if self.data.draws_sketches else "published",
            without=tuple(sorted(left_out)),
            layout=self.data.files.layout,
            names=hashlib.sha256(json.dumps(self.splits).encode()).hexdigest(),
            captions=sha256(self.data.caption_file) if self.data.caption_file else None,
        )

    def __len__(self) -> int:
        """Rows of all splits."""
        return sum(map(len, self.splits.values()))

    def forecast(self) -> Cost:
        """What the work costs, judged by a few images.

        Raises:
            InputError: one of them is missing or damaged.
        """
        indices = [index for found in self.splits.values() for index in found]
        samples = indices[:: max(1, len(indices) // _SAMPLES)][:_SAMPLES]
        start = time.process_time()
        rows = [make_row(self._task(index)) for index in samples]
        seconds = time.process_time() - start
        size = sum(len(value) for row in rows for value in row.values() if isinstance(value, bytes))
        return Cost(seconds / len(rows) * len(self), round(size / len(rows) * len(self)))

    def earlier(self, folder: str | Path) -> Sequence[Shard]:
        """Shards that a call of the same settings has written into `folder` already; they may be damaged.

        Raises:
            InputError: the folder holds something else, or was prepared with other settings.
        """
        folder = Path(folder)
        if not (folder / INDEX).exists():
            found = folder.iterdir() if folder.is_dir() else ()
            others = sorted(path.name for path in found if not path.name.startswith("."))
            if others:
                raise InputError(f"{folder} holds something else ({others[0]}); choose another folder")
            return ()
        index = read_index(folder)
        here = {**self.settings.model_dump(), "format": self.format}
        there = {**index.settings.model_dump(), "format": index.format}
        changed = [key for key in here if here[key] != there[key]]
        if changed:
            told = ", ".join(_told(key, there[key], here[key]) for key in changed)
            raise InputError(f"{folder} was prepared otherwise ({told}); choose another folder, or remove it")
        return index.shards

    def write(
        self,
        folder: str | Path,
        *,
        processes: int | None = None,
        on_progress: OnProgress = lambda _done, _all: None,
    ) -> Index:
        """Write all shards and their index into `folder`, or go on where that was stopped.

        Every shard is written aside and renamed when it is whole; the index lists those that are. Shards that an
        earlier, interrupted call of the same settings has written are verified by their checksums and kept.

        Args:
            folder: a new or empty folder, or that of the earlier call.
            processes: how many work at once; all cores without.
            on_progress: called with how many of how many rows are done.

        Raises:
            InputError: an image is missing or damaged, the folder holds something else or cannot be written, the number
                of processes makes no sense, or a library is not installed.
        """
        folder = Path(folder)
        count_workers(processes)  # before the folder is made
        library("datasets" if self.format == "parquet" else "webdataset")
        with _alone(folder), workers(processes) as run:
            done = {shard.file: shard for shard in self.earlier(folder) if _is_whole(folder, shard)}
            finished = sum(shard.rows for shard in done.values())
            for name, split, first, indices in self._plan():
                if name in done:
                    continue
                rows: list[Row] = []
                for row in run(make_row, map(self._task, indices)):
                    rows.append(row)
                    on_progress(finished + len(rows), len(self))
                finished += len(rows)
                with written_aside(folder / name) as temporary:
                    _WRITERS[self.format](rows, temporary)
                    done[name] = _record(temporary, name, split, first, rows)
                    # Before the shard has its name: a process that is killed here leaves none that is not listed.
                    self._write_index(folder, done, complete=False)
            on_progress(finished, len(self))
            return self._write_index(folder, done, complete=True)

    def _task(self, index: int) -> RowTask:
        masks = "mask" in self.data.modalities
        words = self.data.wordings(index)
        return RowTask(self.data.files.entry(index), words, self.data.size, masks, self.data.draws_sketches)

    def _plan(self) -> Iterator[tuple[str, str, int, list[int]]]:
        """File name, split, number of the first row and images of each shard."""
        for split, indices in self.splits.items():
            count = -(-len(indices) // self.shard_size)
            for number in range(count):
                first = number * self.shard_size
                name = f"{split}-{number:05d}-of-{count:05d}.{_SUFFIXES[self.format]}"
                yield name, split, first, indices[first : first + self.shard_size]

    def _write_index(self, folder: Path, shards: Mapping[str, Shard], *, complete: bool) -> Index:
        index = Index(
            format=self.format,
            complete=complete,
            modalities=self.data.modalities,
            settings=self.settings,
            shards=tuple(shards[name] for name in sorted(shards)),
        )
        write_json(folder / INDEX, index.model_dump(mode="json"))
        return index


def _told(key: str, there: Any, here: Any) -> str:
    plain = isinstance(here, int | None) or key in ("format", "sketches", "layout")
    return f"{key} {there}, now {here}" if plain else f"other {key}"


@dataclass(frozen=True)
class RowTask:
    """All that makes one row: files, captions, side, whether there are masks, and whether the sketch is drawn."""

    entry: Entry
    captions: Sequence[str]
    size: int
    masks: bool
    draws: bool


def make_row(task: RowTask) -> Row:
    """One row: "name", "captions", and encoded "image", "sketch" and, where there are masks, "mask" as bytes.

    Raises:
        InputError: a file is missing or damaged.
    """
    image = read_image(task.entry, task.size)
    sketch = draw_edges(image) if task.draws else read_sketch(task.entry, task.size)
    row: Row = {"name": str(task.entry.index), "captions": list(task.captions)}
    row["image"] = _as_it_is(task.entry.image, task.size) or _png(Image.fromarray(image))
    if task.masks:
        labels = Image.fromarray(read_mask(task.entry, task.size))
        labels.putpalette([channel for colour in MASK_PALETTE for channel in colour])
        row["mask"] = _png(labels)
    row["sketch"] = _png(Image.fromarray(sketch))
    return row


def _as_it_is(path: Path | None, size: int) -> bytes | None:
    """The bytes of a JPEG file that shows the wanted pixels without any conversion."""
    if path is None:
        return None
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        plain = image.format == "JPEG" and image.mode == "RGB" and "icc_profile" not in image.info
        return content if upright and plain and image.size == (size, size) else None


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    datasets = library("datasets")
    columns: dict[str, Any] = {"name": datasets.Value("string"), "captions": datasets.List(datasets.Value("string"))}
    columns |= {key: datasets.Image() for key, value in rows[0].items() if isinstance(value, bytes)}
    files = [{key: _file(row, key) for key in columns} for row in rows]
    table = datasets.Dataset.from_list(files, features=datasets.Features(columns))
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        table.to_parquet(path, batch_size=_GROUP)
    finally:
        if shown:
            datasets.enable_progress_bars()


def _file(row: Row, key: str) -> Any:
    value = row[key]
    return {"bytes": value, "path": f"{row['name']}.{_suffix(value)}"} if isinstance(value, bytes) else value


def _write_tar(rows: Sequence[Row], path: Path) -> None:
    with path.open("wb") as stream, library("webdataset").TarWriter(stream, encoder=False, mtime=0) as tar:
        for row in rows:
            files = {f"{key}.{_suffix(value)}": value for key, value in row.items() if isinstance(value, bytes)}
            told = {"name": row["name"], "captions": row["captions"]}
            tar.write({"__key__": row["name"].zfill(5), **files, "json": json.dumps(told).encode()})


_WRITERS: Mapping[Format, Callable[[Sequence[Row], Path], None]] = {"parquet": _write_parquet, "webdataset": _write_tar}


def _suffix(content: bytes) -> str:
    return "png" if content.startswith(b"\x89PNG") else "jpg"


def _record(path: Path, name: str, split: str, first: int, rows: Sequence[Row]) -> Shard:
    """What the index tells of the shard in `path`, which will be called `name`."""
    uncaptioned = tuple(int(row) for row in np.flatnonzero([not row["captions"] for row in rows]))
    return Shard.model_validate(
        {
            "file": name,
            "split": split,
            "first": first,
            "rows": len(rows),
            "size": path.stat().st_size,
            "sha256": sha256(path),
            "uncaptioned": uncaptioned,
        }
    )


def _is_whole(folder: Path, shard: Shard) -> bool:
    try:
        verify(folder, shard)
    except InputError:
        return False
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process writes into a folder; what a killed one left half done is removed."""
    busy = f"{folder} is in use by another process; wait for it, or choose another folder"
    with locked(folder, folder / ".lock", lambda: busy):
        recover(folder)
        yield
