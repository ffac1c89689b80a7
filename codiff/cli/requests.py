"""What to generate: the command's own conditions, or one set a line of a batch file."""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codiff.cli.outputs import is_file
from codiff.cli.steering import naming, parse_steering, read_steering
from codiff.composition import InfluenceBias, check_modalities
from codiff.errors import InputError, InputNotice

MOST_SEED = 2**63 - 1
_MOST_LINE = 1_000_000  # characters: more is no line of a batch file
_OWN = ("seed", "name", "steer")  # what a line can hold besides conditions


@dataclass(frozen=True)
class Request:
    """One set of conditions.

    Attributes:
        conditions: modality -> words or a path, in the model's order.
        seed: of the first image; the following ones count up.
        name: what the files are called; None for the conditions' words.
        line: in the batch file; None for the command's own.
        bias: what steers the influences; None where nothing does.
    """

    conditions: dict[str, str]
    seed: int
    name: str | None = None
    line: int | None = None
    bias: InfluenceBias | None = None

    @contextmanager
    def located(self) -> Iterator[None]:
        """Errors and notices inside name the line."""
        if self.line is None:
            yield
            return
        try:
            with warnings.catch_warnings(record=True) as notices:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", InputNotice)
                yield
        except InputError as error:
            raise InputError(f"line {self.line}: {error}") from error
        for notice in notices:
            warnings.warn(f"line {self.line}: {notice.message}", InputNotice, stacklevel=2)


def check_seed(seed: Any, count: int) -> int:
    """A seed that `count` images can count up from.

    Raises:
        InputError: it is not a whole number from 0 on.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST_SEED - count:
        raise InputError(f"a seed is a whole number from 0 to {MOST_SEED - count}, not {seed!r}")
    return seed


def read_batch(
    path: Path, modalities: Sequence[str], common: Request, count: int, timesteps: int = 1000
) -> list[Request]:
    """One request for each line that is not empty, with `common` conditions, seed and steering where it gives none.

    Paths are taken from the folder of the batch file, or else from the working folder.

    Args:
        count: images of each request.
        timesteps: of the model's training schedule.

    Raises:
        InputError: unreadable, or a line is not a JSON object of conditions, `seed`, `name` and `steer`.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split(
            "\n"
        )  # JSON strings may hold what splitlines takes for an end
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    requests = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            with Request({}, common.seed, line=number).located():
                requests.append(_parse(line, number, path, modalities, common, count, timesteps))
    if not requests:
        raise InputError(
            f'{path} holds no line; write one JSON object a line, as {{"{modalities[0]}": ..., "seed": 1}}'
        )
    return requests


def _parse(
    line: str, number: int, path: Path, modalities: Sequence[str], common: Request, count: int, timesteps: int
) -> Request:
    if len(line) > _MOST_LINE:
        raise InputError(f"{len(line):,} characters; give images by their paths")
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"a JSON object is expected, not a {type(row).__name__}")
    seed, name = check_seed(row.pop("seed", common.seed), count), row.pop("name", None)
    bias = _steering(row.pop("steer"), path, modalities, timesteps) if "steer" in row else common.bias
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise InputError("name must be a text that is not empty")
    for key, value in row.items():
        if key not in modalities:
            close = difflib.get_close_matches(key, [*modalities, *_OWN], n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise InputError(
                f"unknown key {key!r}{hint}; this model has {', '.join(modalities)}; {', '.join(_OWN)} are known too"
            )
        if not isinstance(value, str):
            raise InputError(f"{key} must be a text or a path in quotes, not {value!r}"[:300])
    merged = {**common.conditions, **{modality: _beside(path, value) for modality, value in row.items()}}
    conditions = {modality: merged[modality] for modality in modalities if modality in merged}
    check_modalities(conditions, dict.fromkeys(modalities))
    if bias is not None:
        with naming("steer"):
            bias.check(list(conditions))
    return Request(conditions, seed, name, number, bias)


def _steering(value: Any, batch: Path, modalities: Sequence[str], timesteps: int) -> InfluenceBias | None:
    """What a line's `steer` says: a file's path, the object itself, or null for none."""
    if value is None:
        return None
    if isinstance(value, str):
        return read_steering(Path(_beside(batch, value)), modalities, timesteps)
    with naming("steer"):
        return parse_steering(value, batch.parent, modalities, timesteps)


def _beside(batch: Path, value: str) -> str:
    """The path of a file that lies where the batch file points; any other value as it is."""
    path = str(batch.parent / value)
    return path if is_file(path) else value
