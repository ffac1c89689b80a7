"""Checking a data set file by file before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from codiff.data.celeba_captions import PAPER_ATTRIBUTES, WITHOUT_CAPTION, index_of, load_captions, wordings
from codiff.data.celeba_files import ENTRIES, CelebAFiles, Entry, find_files
from codiff.data.celeba_masks import ALWAYS, read_mask_file, read_part
from codiff.data.celeba_sketches import read_sketch_file
from codiff.data.extras import library
from codiff.data.prepared import INDEX, is_prepared, read_index, verify
from codiff.data.workers import count_workers, workers
from codiff.errors import InputError
from codiff.image_files import open_image

OnProgress = Callable[[int, int], None]
Sides = dict[str, tuple[int, int] | None]  # kind of file -> width and height that most of them have


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: "missing", "corrupt" or "mismatched".
        file: below the folder that was checked.
        found, expected: what is wrong with it, and what would be right.
        entry: number of the image; None where it concerns none.
    """

    kind: str
    file: str
    found: str
    expected: str
    entry: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.file}: {self.found}; expected {self.expected}"


@dataclass(frozen=True)
class Report:
    """What a check found. `layout` is "raw", "preprocessed" or "prepared"; `notes` are no problems."""

    root: str
    layout: str
    entries: int
    problems: Sequence[Problem]
    notes: Sequence[str]


def check(
    root: str | Path,
    *,
    captions: str | Path | None = None,
    complete: bool = False,
    processes: int | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> Report:
    """Open every file of CelebA-HQ in one of its layouts, or verify the shards that `prepare` wrote.

    Of CelebA-HQ, an image that any file tells of must have all that the folder has: picture, mask (skin at least),
    sketch, caption. Every file must be whole, of its kind, and as large as most of its kind. Image 5380 has no caption.

    Args:
        root: the folder, see `find_files`.
        captions: the caption file; those that lie with the data without.
        complete: whether all 30,000 images must be there.
        processes: how many work at once; all cores without.
        on_progress: called with how many of how many entries are done.

    Raises:
        InputError: the folder is no data set at all, or cannot be read; the given captions are none; the number of
            processes makes no sense; or a library is not installed.
    """
    root = Path(root)
    count_workers(processes)  # before the first file is opened
    if is_prepared(root):
        return _check_prepared(root, on_progress)
    files = find_files(root)
    if captions is not None:
        load_captions(captions)  # a wrong path is a wrong command, not the fault of each image
    caption_files = [Path(captions)] if captions is not None else files.captions
    told, problems = _check_captions(caption_files)
    known = sorted({*files.images, *files.masks, *files.sketches, *files.parts, *(range(ENTRIES) if complete else ())})
    universe = sorted({*known, *told})
    problems += _missing(files, universe, told if caption_files else None)
    problems += [Problem("mismatched", str(path), "no image has a file of this name", _NAMES) for path in files.strays]
    there = [files.entry(index) for index in known]
    sides = _usual_sides(there)
    with workers(processes) as run:
        for done, found in enumerate(run(partial(_check_entry, sides=sides), there), start=1):
            problems += found
            on_progress(done, len(there))
    ordered = sorted(problems, key=lambda problem: (-1 if problem.entry is None else problem.entry, problem.file))
    relative = [_below(root, problem) for problem in ordered]
    notes = _notes(files, universe, told if caption_files else None)
    return Report(str(root), files.layout, len(universe), relative, notes)


_NAMES = "the number of an image, as in 12.jpg, 12.pt or 0/00012_skin.png, once"


def _check_prepared(root: Path, on_progress: OnProgress) -> Report:
    index = read_index(root)
    if index.format == "parquet":
        library("pyarrow.parquet")  # what is not installed is not the fault of each shard
    problems = []
    for done, shard in enumerate(index.shards, start=1):
        try:
            verify(root, shard)
        except InputError as error:
            problems.append(
                Problem("corrupt", shard.file, str(error), f"{shard.rows:,} rows of SHA-256 {shard.sha256}")
            )
        on_progress(done, len(index.shards))
    if not index.complete:
        problems.append(Problem("missing", INDEX, "not all shards are written yet", "a finished codiff data prepare"))
    rows = sum(shard.rows for shard in index.shards)
    return Report(str(root), "prepared", rows, problems, [f"{len(index.shards)} shards, {index.format}"])


def _check_captions(paths: Iterable[Path]) -> tuple[set[int], list[Problem]]:
    """Numbers of the images that all caption files together name, and what is wrong with the files."""
    told: set[int] = set()
    problems = []
    for path in paths:
        try:
            captions = load_captions(path)
        except InputError as error:
            problems.append(Problem("corrupt", str(path), _bare(error, path), "one JSON object of captions"))
            continue
        named: set[int] = set()
        for name, value in captions.items():
            problem = _check_caption(path, name, value, named)
            problems += [problem] if problem else []
        told |= named
    return told, problems


def _check_caption(path: Path, name: str, value: Any, named: set[int]) -> Problem | None:
    """What is wrong with one caption; its number is added to those that are `named`."""
    try:
        index = index_of(name)
    except InputError as error:
        return Problem("mismatched", str(path), f"{name[:80]!r}: {error}", "the name of an image")
    twice = index in named
    named.add(index)
    if twice:
        return Problem("mismatched", str(path), f"{name!r}: named before", "each image once", index)
    try:
        words = wordings(value, PAPER_ATTRIBUTES)
    except InputError as error:
        return Problem("corrupt", str(path), f"{name!r}: {str(error).partition(';')[0]}", "a caption", index)
    return None if words else Problem("missing", str(path), f"{name!r}: no words", "a caption", index)


def _missing(files: CelebAFiles, universe: Sequence[int], told: Collection[int] | None) -> Iterator[Problem]:
    """Files and captions that the images of `universe` should have; `told` is None where there is no caption file."""
    raw = files.parts_folder is not None
    folders = (
        (files.images, files.image_folder, "jpg", "the picture"),
        (files.masks, None if raw else files.mask_folder, "pt", "the mask"),
        (files.sketches, files.sketch_folder, "pt", "the sketch"),
    )
    for index in universe:
        for found, folder, suffix, what in folders:
            if folder is not None and index not in found:
                yield Problem("missing", str(folder / f"{index}.{suffix}"), "there is no such file", what, index)
        if raw and ALWAYS not in files.parts.get(index, ()):
            what = "the part that every mask has"
            yield Problem("missing", str(files.part(index, ALWAYS)), "there is no such file", what, index)
        if told is not None and index not in told and index not in WITHOUT_CAPTION:
            file = str(files.images.get(index, files.image_folder / f"{index}.jpg"))
            yield Problem("missing", file, "no caption file names it", "a caption", index)


def _readers(entry: Entry) -> Iterator[tuple[str, Path, Callable[[Path], tuple[int, int]]]]:
    """Kind, path and function that opens a file and gives its width and height, of all files of an entry."""
    if entry.image:
        yield "image", entry.image, lambda path: open_image(path).size
    for path in entry.parts.values():
        yield "mask part", path, lambda path: _size(read_part(path))
    if entry.mask:
        yield "mask", entry.mask, lambda path: _size(read_mask_file(path))
    if entry.sketch:
        yield "sketch", entry.sketch, lambda path: _size(read_sketch_file(path))


def _size(values: Any) -> tuple[int, int]:
    return values.shape[1], values.shape[0]


def _usual_sides(entries: Sequence[Entry]) -> Sides:
    """The commonest size of each kind of file, among some spread over the data set."""
    found: dict[str, Counter[tuple[int, int]]] = {}
    for entry in entries[:: max(1, len(entries) // 16)]:
        for kind, path, size in _readers(entry):
            try:
                found.setdefault(kind, Counter())[size(path)] += 1
            except InputError:
                continue  # told when all files are opened
    return {kind: sizes.most_common(1)[0][0] for kind, sizes in found.items() if sizes}


_GOOD = {
    "image": "a whole picture",
    "mask part": "a whole black and white picture",
    "mask": "a one-hot tensor (19, 1024), or a label picture",
    "sketch": "a tensor (1, 1024) in 0..1",
}


def _check_entry(entry: Entry, sides: Sides) -> list[Problem]:
    """What is wrong with the files that an entry has."""
    problems = []
    for kind, path, size in _readers(entry):
        try:
            width, height = size(path)
        except InputError as error:
            problems.append(Problem("corrupt", str(path), _bare(error, path), _GOOD[kind], entry.index))
            continue
        usual = sides.get(kind)
        if width != height or (usual and (width, height) != usual):
            expected = f"{usual[0]} x {usual[1]}, as most have" if usual and usual[0] == usual[1] else "a square"
            problems.append(Problem("mismatched", str(path), f"{width} x {height} pixels", expected, entry.index))
    return problems


def _bare(error: InputError, path: Path) -> str:
    """What an error says, without the file that it says it of."""
    return str(error).partition(f"{str(path)!r}: ")[2] or str(error)


def _below(root: Path, problem: Problem) -> Problem:
    path = Path(problem.file)
    file = path.relative_to(root).as_posix() if path.is_relative_to(root) else problem.file
    return Problem(problem.kind, file, problem.found, problem.expected, problem.entry)


def _notes(files: CelebAFiles, universe: Collection[int], told: Collection[int] | None) -> list[str]:
    notes = [] if len(universe) == ENTRIES else [f"{len(universe):,} of CelebA-HQ's {ENTRIES:,} images"]
    notes += [] if files.has_masks else ["there are no masks"]
    if told is None:
        return [*notes, "there are no captions"]
    return notes + [f"image {index} has no caption, as published" for index in {*universe} & WITHOUT_CAPTION - {*told}]
