"""Which published files there are, and what each should hold by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from codiff.convert.description import PUBLISHED_NAMES, Description
from codiff.convert.parts import Part, composed_parts, unimodal_parts, vae_parts
from codiff.errors import InputError

COMPOSED, VAE = "collaborative", "autoencoder"

_NAME = re.compile(r"(?P<set>.+?)_(?P<role>codiff_\w+|vae|text|mask|sketch)\.ckpt")


@dataclass(frozen=True)
class Source:
    """A file, what it should hold, the parts that account for all of it, and those of them that are taken from it."""

    path: Path
    role: str
    parts: list[Part]
    taken: list[Part]


def find_sources(folder: Path, name: str, description: Description) -> tuple[list[Source], list[str]]:
    """The files to read, and the names of those beside them that are left unread.

    A collaborative file is read alone; without one all uni-modal files, whose autoencoder is taken from text's as the
    published collaborative files do; without these the autoencoder.

    Args:
        folder: of the checkpoints, or one checkpoint.
        name: what the files' names begin with.

    Raises:
        InputError: there is none, one has no known role or a role that the description lacks, or two have the same.
    """
    if folder.is_file():
        return _sources({role_of(folder): folder}, description), []
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the folder that holds {name}_codiff_mask_text.ckpt")
    files = sorted(path for path in folder.iterdir() if path.suffix == ".ckpt" and path.is_file())
    roles: dict[str, list[Path]] = {}
    for path in files:
        match = _NAME.fullmatch(path.name)
        if match is not None and match["set"] == name:
            roles.setdefault(role_of(path), []).append(path)
    chosen = _chosen(roles, description)
    if not chosen:
        present = ", ".join(path.name for path in files) or "no .ckpt files"
        required = [modality for modality in description.collaborators if modality not in description.optional]
        wanted = ", ".join(f"{name}_{modality}.ckpt" for modality in required)
        raise InputError(f"{folder} holds no {name}_codiff_mask_text.ckpt nor any of {wanted}; it holds {present}")
    unread = [path.name for path in files if path not in chosen.values()]
    return _sources(chosen, description), unread


def _chosen(roles: dict[str, list[Path]], description: Description) -> dict[str, Path]:
    if COMPOSED in roles and description.dynamic_diffuser is not None:
        fitting = [path for path in roles[COMPOSED] if _told_modalities(path) == set(description.collaborators)]
        return {COMPOSED: (fitting or roles[COMPOSED])[0]}
    unimodal = {role: paths[0] for role, paths in roles.items() if role in description.collaborators}
    return unimodal or {role: paths[0] for role, paths in roles.items() if role == VAE}


def role_of(path: Path) -> str:
    """What a file should hold, by its name.

    Raises:
        InputError: it is not named like a published file.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(
            f"{path.name} is not named like a published file (512_codiff_mask_text.ckpt, 512_text.ckpt, ...), so its "
            "role is not known; give it back its name"
        )
    role = match["role"]
    return {"vae": VAE}.get(role, COMPOSED if role.startswith("codiff_") else role)


def kind_of(state: Mapping[str, Tensor]) -> str | None:
    """The role of a file by what it holds; sketches' look like masks'."""
    keys = list(state)
    if any(re.match(rf"model\.({'|'.join(PUBLISHED_NAMES.values())})_unet\.", key) for key in keys):
        return COMPOSED
    if any(key.startswith("model.diffusion_model.") for key in keys):
        return "text" if any(key.startswith("cond_stage_model.transformer.") for key in keys) else "mask"
    return VAE if "encoder.conv_in.weight" in state else None


def told_by_name(path: Path, description: Description) -> Description:
    """The description without the optional modalities that the name of a collaborative file does not tell of."""
    left_out = set(description.optional) - _told_modalities(path)
    kept = {name: found for name, found in description.collaborators.items() if name not in left_out}
    return replace(description, collaborators=kept, optional=())


def _told_modalities(path: Path) -> set[str]:
    return set(path.stem.rpartition("codiff_")[2].split("_"))


def _sources(files: dict[str, Path], description: Description) -> list[Source]:
    first = "text" if "text" in files else next(iter(files))
    sources = []
    for role, path in files.items():
        parts = parts_of(path, role, description)
        taken = [part for part in parts if role == first or part.folder != "vae"]
        sources.append(Source(path, role, parts, taken))
    return sources


def parts_of(path: Path, role: str, description: Description) -> list[Part]:
    """All that a file of this role holds.

    Raises:
        InputError: the description does not have it.
    """
    if role == COMPOSED:
        return composed_parts(told_by_name(path, description))
    if role == VAE:
        return vae_parts(description)
    if role not in description.collaborators:
        known = ", ".join(description.collaborators)
        raise InputError(f"{path} is a model of {role}, but the configuration describes {known}; give its own --config")
    return unimodal_parts(description, role)
