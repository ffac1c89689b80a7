"""Reading data sets that `codiff data prepare` wrote: shards and an index that tells their rows and checksums."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from codiff.data.celeba_hq import LARGEST, MODALITIES, SMALLEST, check_split
from codiff.data.extras import library
from codiff.data.lazy_example import LazyExample
from codiff.errors import InputError
from codiff.image_files import open_raw

INDEX = "index.json"
Format = Literal["parquet", "webdataset"]
_SHARD = r"^(train|validation)-\d{5}-of-\d{5}\.(parquet|tar)$"
_MOST_ROWS = 1_000_000  # the names of images have six digits at most


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shard(_Record):
    """One file of rows.

    Attributes:
        file: its name beside the index.
        split: "train" or "validation".
        first, rows: its rows are number `first` .. `first + rows - 1` of the split.
        size, sha256: of the file, in bytes and as hexadecimal digits.
        uncaptioned: which of its rows, from 0, have no caption.
    """

    file: str = Field(pattern=_SHARD)
    split: Literal["train", "validation"]
    first: int = Field(ge=0)
    rows: int = Field(gt=0, le=_MOST_ROWS)
    size: int = Field(gt=0)
    sha256: str
    uncaptioned: tuple[int, ...] = ()


class Settings(_Record):
    """All that determines the rows.

    Attributes:
        size: side of pictures, masks and sketches.
        shard_size: rows of a shard.
        limit: only the first so many of each split; all without.
        attributes: of which captions tell.
        sketches: whether they were drawn from the pictures, or are the published ones.
        without: numbers of the images that were left out.
        layout: of the source, "raw" or "preprocessed".
        names, captions: SHA-256 of the numbers of the images by split, and of the caption file where there is one.
    """

    size: int = Field(ge=SMALLEST, le=LARGEST)
    shard_size: int = Field(gt=0)
    limit: int | None
    attributes: tuple[str, ...]
    sketches: Literal["drawn", "published"]
    without: tuple[int, ...]
    layout: str
    names: str
    captions: str | None


class Index(_Record):
    """What `index.json` tells.

    Attributes:
        version: of this form of the index.
        format: "parquet" or "webdataset" (tar).
        complete: whether all shards are there.
        modalities: those that rows have conditions of.
        settings: all that determines the rows.
        shards: in the order of their rows, train before validation, each once.
    """

    version: Literal[1] = 1
    format: Format
    complete: bool
    modalities: tuple[Annotated[str, Field(pattern=f"^({'|'.join(MODALITIES)})$")], ...]
    settings: Settings
    shards: tuple[Shard, ...]

    @field_validator("shards")
    @classmethod
    def _each_once(cls, shards: tuple[Shard, ...]) -> tuple[Shard, ...]:
        if len({shard.file for shard in shards}) < len(shards):
            raise ValueError("a file stands there twice")
        return shards


def is_prepared(folder: Path) -> bool:
    """Whether `codiff data prepare` wrote the index of a folder: it lies beside shards, or is a valid one.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        if not (folder / INDEX).is_file():
            return False
        if any(re.match(_SHARD, path.name) for path in folder.iterdir()):
            return True
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}") from error
    try:
        read_index(folder)
    except InputError:
        return False
    return True


def read_index(folder: str | Path) -> Index:
    """The index of a prepared data set.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = Path(folder) / INDEX
    try:
        return Index.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no prepared data set: it has no {INDEX}; see codiff data prepare") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"
        raise InputError(f"{path} is damaged or of another version ({found}); prepare it again") from error


def sha256(path: Path) -> str:
    """Of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(folder: Path, shard: Shard) -> None:
    """Read a shard in full and compare it with its checksum, then its rows with what the index tells.

    Raises:
        InputError: it is missing, cut short or changed, has other rows, or a library is not installed.
    """
    path = folder / shard.file
    try:
        size = path.stat().st_size
        digest = sha256(path) if size == shard.size else ""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; {_AGAIN}") from error
    if digest != shard.sha256:
        found = f"{size:,} bytes" if size != shard.size else f"SHA-256 {digest}"
        wanted = f"{shard.size:,} bytes" if size != shard.size else shard.sha256
        raise InputError(f"{path} is damaged: {found} instead of {wanted}; {_AGAIN}")
    _check_rows(path, shard)


def _check_rows(path: Path, shard: Shard) -> None:
    """Compare the rows of a shard with what the index tells; only its table of contents is read."""
    count = _rows_of_tar if path.suffix == ".tar" else partial(_rows_of_parquet, library("pyarrow.parquet"))
    try:
        rows = count(path)
    except Exception as error:  # both libraries raise whatever a changed byte leads them to
        raise InputError(f"{path} is damaged: {_one_line(error)}; {_AGAIN}") from error
    if rows != shard.rows:
        raise InputError(f"{path} is damaged: {rows:,} rows instead of {shard.rows:,}; {_AGAIN}")


def _rows_of_tar(path: Path) -> int:
    with tarfile.open(path, "r:") as tar:
        return sum(member.name.endswith(".json") for member in tar)


def _rows_of_parquet(parquet: Any, path: Path) -> int:
    return int(parquet.read_metadata(path).num_rows)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


_AGAIN = "run codiff data prepare again, which writes it anew"


class PreparedShards(Sequence[LazyExample]):
    """One split of a data set prepared as Parquet, row by row, each read when it is asked for.

    Needs pyarrow, of `pip install codiff[train]`. Rows without a caption are left out wherever text is among the
    modalities. Each process that reads opens the files itself, so workers of a loader may share one of these.

    Args:
        folder: where `codiff data prepare` wrote.
        split: "train" or "validation".
        modalities: which conditions examples have; all that the data set has without.
        limit: only the first so many.
        verify_checksums: read all shards of the split once and compare them with their checksums.

    Raises:
        InputError: no prepared data set, an unfinished or damaged one, one for streaming, or nothing of that split.
            Examples raise it where one of their values is damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        *,
        modalities: Sequence[str] | None = None,
        limit: int | None = None,
        verify_checksums: bool = False,
    ) -> None:
        check_split(split)
        self.folder = Path(folder)
        index = read_index(folder)
        self.modalities = _checked_modalities(self.folder, index, modalities)
        self.size = index.settings.size
        self._shards = [shard for shard in index.shards if shard.split == split]
        for shard in self._shards:
            _check_shard(self.folder, shard, in_full=verify_checksums)
        rows = [(number, row) for number, shard in enumerate(self._shards) for row in self._wanted(shard)]
        self._rows = rows[:limit]  # shard and row within it
        self._files: dict[int, Any] = {}
        self._groups: dict[str, tuple[tuple[int, int], list[Any]]] = {}  # column -> the row group read last
        if not self._rows:
            raise InputError(f"{folder}: its {split} split has no rows")
        self._split = split

    @cached_property
    def pictures_fingerprint(self) -> str:
        """Names the pictures alone, by their rows and the checksums of their shards."""
        told = self._rows, [(shard.file, shard.sha256) for shard in self._shards]
        digest = hashlib.sha256(repr(told).encode()).hexdigest()
        return f"prepared-{self.size}-{self._split}-{len(self)}-{digest[:16]}"

    @property
    def fingerprint(self) -> str:
        """Names the pictures and their conditions."""
        return "-".join([self.pictures_fingerprint, *self.modalities])

    def _wanted(self, shard: Shard) -> list[int]:
        left_out = {*shard.uncaptioned} if "text" in self.modalities else ()
        return [row for row in range(shard.rows) if row not in left_out]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, item: int) -> LazyExample:  # type: ignore[override]
        if not 0 <= item < len(self):
            raise IndexError(item)
        shard, row = self._rows[item]
        pixels = partial(self._pixels, shard, row)
        readers: dict[str, Callable[[], Sequence[Any]]] = {
            "text": lambda: self._captions(shard, row),
            "mask": lambda: [pixels("mask")],
            "sketch": lambda: [pixels("sketch")],
        }
        wanted = {modality: readers[modality] for modality in self.modalities}
        return LazyExample(self._value(shard, row, "name"), lambda: pixels("image"), wanted)

    def __iter__(self) -> Iterator[LazyExample]:
        return (self[item] for item in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}, "_groups": {}}

    def _value(self, number: int, row: int, column: str) -> Any:
        """One value of a row; a whole row group is read at once, and kept for its neighbours."""
        parquet = library("pyarrow.parquet")
        try:
            if number not in self._files:
                path = self.folder / self._shards[number].file
                self._files[number] = parquet.ParquetFile(path, memory_map=True)
            file = self._files[number]
            group, place = divmod(row, file.metadata.row_group(0).num_rows)
            if self._groups.get(column, ((-1, -1), []))[0] != (number, group):
                self._groups[column] = (number, group), file.read_row_group(group, [column])[column].to_pylist()
            return self._groups[column][1][place]
        except Exception as error:  # pyarrow raises whatever a changed byte leads it to
            raise InputError(
                f"{self._where(number, row, column)} cannot be read: {_one_line(error)}; {_AGAIN}"
            ) from error

    def _captions(self, number: int, row: int) -> list[str]:
        captions = self._value(number, row, "captions")
        if not captions or not all(isinstance(words, str) for words in captions):
            raise InputError(f"{self._where(number, row, 'captions')} are no words; {_AGAIN}")
        return list(captions)

    def _pixels(self, number: int, row: int, column: str) -> NDArray[np.uint8]:
        """(size, size, 3) of a picture, (size, size) of a label PNG's indices or of a drawing."""
        value, where = self._value(number, row, column), self._where(number, row, column)
        content = value.get("bytes") if isinstance(value, dict) else None
        if not isinstance(content, bytes):
            raise InputError(f"{where} is no picture; {_AGAIN}")
        picture = open_raw(content, where)
        if picture.size != (self.size, self.size):
            found = f"{picture.width} x {picture.height} pixels instead of {self.size} x {self.size}"
            raise InputError(f"{where}: {found}; {_AGAIN}")
        return np.array(picture)

    def _where(self, number: int, row: int, column: str) -> str:
        return f"{self.folder / self._shards[number].file}: {column} of row {row}"


def _checked_modalities(folder: Path, index: Index, wanted: Sequence[str] | None) -> tuple[str, ...]:
    if index.format != "parquet":
        raise InputError(f"{folder} was prepared for streaming; read its tar files with webdataset.WebDataset")
    if not index.complete:
        raise InputError(f"{folder} is not finished; run the same codiff data prepare again, which goes on")
    missing = [modality for modality in wanted or () if modality not in index.modalities]
    if missing:
        raise InputError(f"{folder} has no {missing[0]}; it has {', '.join(index.modalities)}")
    return tuple(modality for modality in index.modalities if wanted is None or modality in wanted)


def _check_shard(folder: Path, shard: Shard, *, in_full: bool) -> None:
    path = folder / shard.file
    if in_full or not path.is_file() or path.stat().st_size != shard.size:
        verify(folder, shard)
    else:
        _check_rows(path, shard)
