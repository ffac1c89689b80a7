"""What to generate: the command's own conditions, or one set a line of a batch file."""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codiff.cli.outputs import is_file
from codiff.composition import check_modalities
from codiff.errors import InputError, InputNotice

MOST_SEED = 2**63 - 1
_MOST_LINE = 1_000_000  # characters: more is no line of a batch file


@dataclass(frozen=True)
class Request:
    """One set of conditions.

    Attributes:
        conditions: modality -> words or a path, in the model's order.
        seed: of the first image; the following ones count up.
        name: what the files are called; None for the conditions' words.
        line: in the batch file; None for the command's own.
    """

    conditions: dict[str, str]
    seed: int
    name: str | None = None
    line: int | None = None

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
    path: Path, modalities: Sequence[str], common: Mapping[str, str], seed: int, count: int
) -> list[Request]:
    """One request for each line that is not empty, `common` conditions and `seed` where it gives none.

    Paths are taken from the folder of the batch file, or else from the working folder.

    Raises:
        InputError: unreadable, or a line is not a JSON object of conditions, `seed` and `name`.
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
            with Request({}, seed, line=number).located():
                requests.append(_parse(line, number, path, modalities, common, seed, count))
    if not requests:
        raise InputError(
            f'{path} holds no line; write one JSON object a line, as {{"{modalities[0]}": ..., "seed": 1}}'
        )
    return requests


def _parse(
    line: str, number: int, path: Path, modalities: Sequence[str], common: Mapping[str, str], seed: int, count: int
) -> Request:
    if len(line) > _MOST_LINE:
        raise InputError(f"{len(line):,} characters; give images by their paths")
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"a JSON object is expected, not a {type(row).__name__}")
    seed, name = check_seed(row.pop("seed", seed), count), row.pop("name", None)
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise InputError("name must be a text that is not empty")
    for key, value in row.items():
        if key not in modalities:
            close = difflib.get_close_matches(key, [*modalities, "seed", "name"], n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise InputError(
                f"unknown key {key!r}{hint}; this model has {', '.join(modalities)}; seed and name are known too"
            )
        if not isinstance(value, str):
            raise InputError(f"{key} must be a text or a path in quotes, not {value!r}"[:300])
    merged = {**common, **{modality: _beside(path, value) for modality, value in row.items()}}
    conditions = {modality: merged[modality] for modality in modalities if modality in merged}
    check_modalities(conditions, dict.fromkeys(modalities))
    return Request(conditions, seed, name, number)


def _beside(batch: Path, value: str) -> str:
    """The path of a file that lies where the batch file points; any other value as it is."""
    path = str(batch.parent / value)
    return path if is_file(path) else value
