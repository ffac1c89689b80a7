"""`codiff data`: checking and preparing CelebA-HQ."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from codiff.cli.outputs import check_writable
from codiff.cli.show import FAILED, progress, tell
from codiff.data.celeba_captions import ATTRIBUTES, PAPER_ATTRIBUTES
from codiff.data.check import Report
from codiff.data.check import check as check_data
from codiff.data.shards import Preparation
from codiff.data.workers import count_workers
from codiff.errors import InputError

data = typer.Typer(help="Check and prepare CelebA-HQ, as it comes.")

_Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder that holds CelebA-HQ, raw or preprocessed.", show_default=False)
]
_Captions = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Caption file; without: the data's own.", show_default=False)
]
_Processes = Annotated[int | None, typer.Option(help="How many work at once; without: all cores.", show_default=False)]


@data.command()
def check(
    folder: _Folder,
    captions: _Captions = None,
    complete: Annotated[bool, typer.Option("--complete", help="All 30,000 images must be there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    processes: _Processes = None,
) -> None:
    """Open every file of a data set and list what is missing, corrupt or mismatched.

    Of a folder that codiff data prepare wrote, the checksums are verified. Exit code 1 where anything is wrong.
    """
    with _bar("checking") as on_progress:
        report = check_data(folder, captions=captions, complete=complete, processes=processes, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        for problem in report.problems:
            typer.echo(_printable(str(problem)))
    tell(_summary(report))
    if report.problems:
        raise typer.Exit(FAILED)


def _printable(text: str) -> str:
    """With a backslash and a number for what standard output cannot show, as bytes of a file name that are no UTF-8."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _summary(report: Report) -> str:
    kinds = [problem.kind for problem in report.problems]
    counted = {kind: kinds.count(kind) for kind in ("missing", "corrupt", "mismatched")}
    counts = ", ".join(f"{count:,} {kind}" for kind, count in counted.items() if count)
    notes = "".join(f"; {note}" for note in report.notes)
    return f"{report.root}: {report.entries:,} entries, {report.layout}: {counts or 'nothing is wrong'}{notes}"


@data.command()
def prepare(
    folder: _Folder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder, or one to go on in.", show_default=False)],
    size: Annotated[int, typer.Option(help="Side in pixels, 32 to 1024.")] = 512,
    shard_size: Annotated[int, typer.Option(help="Images in a shard.")] = 500,
    webdataset: Annotated[bool, typer.Option("--webdataset", help="Write tar files for streaming.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only the first so many of a split.", show_default=False)] = None,
    captions: _Captions = None,
    attributes: Annotated[
        str, typer.Option(metavar="NAMES", help=f"Of which captions tell: {','.join(ATTRIBUTES)}, or all.")
    ] = ",".join(PAPER_ATTRIBUTES),
    keep_sketches: Annotated[
        bool, typer.Option("--keep-sketches", help="Take the published sketches (32 x 32) instead of drawing new ones.")
    ] = False,
    without: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Leave out what this report of check --json names.", show_default=False),
    ] = None,
    processes: _Processes = None,
) -> None:
    """Resize a data set, draw its sketches, and write it as a few large, checksummed files.

    Parquet files, which training reads in any order, or tar files with --webdataset. Ctrl-C loses at most the shard at
    work; the same command goes on.
    """
    check_writable(out)
    count = count_workers(processes)
    preparation = Preparation(
        folder,
        size=size,
        shard_size=shard_size,
        format="webdataset" if webdataset else "parquet",
        limit=limit,
        captions=captions,
        attributes=tuple(ATTRIBUTES) if attributes == "all" else tuple(attributes.split(",")),
        keep_sketches=keep_sketches,
        without=() if without is None else _named_in(without),
    )
    preparation.earlier(out)
    _tell_cost(preparation, out, count)
    with _bar("preparing") as on_progress:
        index = preparation.write(out, processes=count, on_progress=on_progress)
    size_of_all = sum(shard.size for shard in index.shards)
    splits = ", ".join(f"{len(found):,} {split}" for split, found in preparation.splits.items())
    tell(f"{out}: {splits}, {', '.join(index.modalities)}: {len(index.shards)} shards, {_gigabytes(size_of_all)}")


def _tell_cost(preparation: Preparation, out: Path, processes: int) -> None:
    """Forecast of time and disk of the whole, before it begins."""
    cost = preparation.forecast()
    minutes = round(cost.seconds / processes / 60)
    home = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
    free = _gigabytes(shutil.disk_usage(home).free)
    time = f"{minutes} minutes" if minutes > 1 else "less than a minute" if minutes < 1 else "a minute"
    tell(f"{len(preparation):,} images: about {_gigabytes(cost.size)} ({free} are free) and {time}")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _named_in(path: Path) -> set[int]:
    """Numbers of the images that a report names."""
    try:
        named = {problem["entry"] for problem in json.loads(path.read_bytes())["problems"]} - {None}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is {_NO_REPORT}") from error
    if not all(type(number) is int for number in named):  # True is an int as well
        raise InputError(f"{path} is {_NO_REPORT}: its entries are no numbers of images")
    return named


_NO_REPORT = "no report of codiff data check --json"


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, moved by how many of how many are done."""
    with progress() as bar:
        task: Any = bar.add_task(what, total=None, state="")
        yield lambda done, total: bar.update(task, completed=done, total=total, state=f"{done:,}/{total:,}")
