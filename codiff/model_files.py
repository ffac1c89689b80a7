"""Finding a model's folder, and checking that its files are whole."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from codiff.errors import InputError

INDEX = "model_index.json"
CHECKSUMS = "checksums.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SUFFIXES = (".json", ".safetensors", ".md")
_PATTERNS = ["*.json", "*.safetensors", "*.md"]


def find_model(name: str | Path, **hub: Any) -> Path:
    """The local folder of a model: a shipped one by its name, a folder by its path, or a hub id, which is downloaded.

    Args:
        name: "demo", a folder, or "owner/name".
        hub: passed to `huggingface_hub.snapshot_download` (`revision`, `token`, `cache_dir`, `local_files_only`, ...).

    Raises:
        InputError: there is no such model, or it cannot be downloaded.
    """
    shipped = Path(str(files("codiff"))) / "demo"
    if str(name) == "demo":
        if not (shipped / INDEX).exists():
            raise InputError("the demo model is missing from this installation of codiff; install it anew")
        return shipped
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"model {str(name)!r} is a file; give the folder that holds {INDEX}")
    if not _HUB_ID.fullmatch(str(name)):
        raise InputError(f"there is no model folder {str(name)!r}; give a folder, 'demo', or a hub id like owner/name")
    try:
        return Path(snapshot_download(str(name), allow_patterns=_PATTERNS, **hub))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"there is no folder {str(name)!r}, and it cannot be downloaded as a hub id: {reason}"
        ) from error


def read_index(folder: Path) -> dict[str, Any]:
    """The `model_index.json` of a codiff model.

    Raises:
        InputError: missing, broken, or of another kind of pipeline.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        kind = index["_class_name"]
    except FileNotFoundError as error:
        raise InputError(f"{folder} is not a codiff model: it has no {INDEX}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{folder / INDEX} is broken: {error}; download or convert the model again") from error
    if kind != "CollaborativePipeline":
        raise InputError(f"{folder} holds a {kind}, but codiff loads models of its own kind, CollaborativePipeline")
    return index


def replaceable(folder: Path, kept: str = "") -> Path:
    """The folder itself, behind any links, if a model may take its place.

    Args:
        kept: pattern of files that may lie there without a model.

    Raises:
        InputError: it is a file, the working directory or above it, or holds something else, which would be lost.
    """
    try:
        folder = folder.resolve()
        if folder.exists() and not folder.is_dir():
            raise InputError(f"cannot write {folder}: it is a file; give the folder to write the model into")
        entries = [path for path in folder.rglob("*") if not path.is_dir()] if folder.is_dir() else []
    except (OSError, RuntimeError) as error:  # too long a name, or links in a circle
        raise InputError(f"cannot write {str(folder)[:200]}: {error}; give another folder") from error
    if Path.cwd().is_relative_to(folder):
        raise InputError(f"{folder} is the working directory or above it; give a folder inside")
    others = sorted(path.name for path in entries if not (kept and path.match(kept)))
    if (folder / INDEX).exists():
        read_index(folder)  # another kind of pipeline is not ours to replace
        others = sorted(path.name for path in entries if path.suffix not in _SUFFIXES)
    if others:
        raise InputError(
            f"{folder} holds something else than a model ({others[0]}, ...), which would be lost; give a new folder"
        )
    return folder


def write_checksums(folder: Path) -> None:
    """Record the SHA-256 of every weight file, since safetensors load a flipped byte silently, and nothing of whence.

    diffusers notes in each configuration where a part was loaded from: a path that means nothing to others.
    """
    for path in folder.rglob("config.json"):
        known = json.loads(path.read_text(encoding="utf-8"))
        if known.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sums = {str(path.relative_to(folder)): _sha256(path) for path in sorted(folder.rglob("*.safetensors"))}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def verify_checksums(folder: Path) -> None:
    """Compare every weight file with its record; folders without a record pass.

    Raises:
        InputError: a file is missing or damaged.
    """
    record = folder / CHECKSUMS
    if not record.exists():
        return
    try:
        sums: dict[str, str] = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{record} is broken: {error}; download the model again") from error
    if not isinstance(sums, dict):
        raise InputError(f"{record} is broken: it lists no files; download the model again")
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing; download the model again")
        if _sha256(path) != expected:
            raise InputError(f"{path} is damaged (its SHA-256 is not the recorded one); download the model again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
