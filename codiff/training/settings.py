"""Typed settings of a training, read from a preset's TOML and overridden by name."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codiff.errors import InputError


class Settings(BaseModel):
    """Base of all settings: unknown names are errors, and so are infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Share = Annotated[float, Field(ge=0, lt=1)]


class LoopSettings(Settings):
    """What every stage's loop takes.

    Attributes:
        steps: optimiser steps in all.
        batch_size: examples per process and micro-batch.
        accumulation: micro-batches per optimiser step.
        learning_rate: peak, reached after `warmup_steps`.
        schedule: constant, or cosine down to zero.
        ema_decay: largest decay of the exponential moving average (warmed up); None switches it off.
        max_grad_norm: gradients are clipped to this L2 norm.
        precision: "no" (fp32), "bf16" or "fp16" autocast.
        checkpoint_every, picture_every, log_every: in steps.
        skip_limit: so many non-finite losses in a row stop the training.
    """

    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulation: int = Field(default=1, gt=0)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: Literal["no", "bf16", "fp16"] = "no"
    seed: int = 0
    checkpoint_every: int = Field(default=1000, gt=0)
    picture_every: int = Field(default=1000, gt=0)
    log_every: int = Field(default=20, gt=0)
    skip_limit: int = Field(default=10, gt=0)


_OVERRIDE = re.compile(r"\s*[\w-]+(\.[\w-]+)*\s*=.*", re.DOTALL)
PRESETS = files("codiff") / "presets"
SettingsType = TypeVar("SettingsType", bound=Settings)


def preset_names() -> list[str]:
    """Names of the presets that ship with codiff and can be trained."""
    found = [entry for entry in PRESETS.iterdir() if entry.name.endswith(".toml")]
    trained = (entry for entry in found if set(tomllib.loads(entry.read_text("utf-8"))) != {"published"})
    return sorted(entry.name.removesuffix(".toml") for entry in trained)


def read_preset(name: str) -> dict[str, Any]:
    """The tables of a shipped preset or of a TOML file.

    Raises:
        InputError: no such preset, or not TOML.
    """
    if not name.endswith(".toml") and name not in preset_names():
        shipped = ", ".join(preset_names())
        raise InputError(f"no preset {name!r}; give one of {shipped}, or the path of a .toml file")
    source = Path(name).expanduser() if name.endswith(".toml") else PRESETS / f"{name}.toml"
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"preset {name!r} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"preset {name!r} is not valid TOML: {error}") from error


def settings_from(kind: type[SettingsType], table: dict[str, Any], overrides: list[str] | None = None) -> SettingsType:
    """Settings of a preset's table with overrides like `loop.steps=2000`; `none` switches off what can be left out.

    Raises:
        InputError: a name that the stage does not have, or a value out of range; all of them are listed.
    """
    malformed = [override for override in overrides or [] if not _OVERRIDE.fullmatch(override)]
    if malformed:
        listed = ", ".join(map(repr, malformed))
        raise InputError(f"not of the form name=value, like loop.steps=2000: {listed}")
    merged = _deep_copy(table)
    for override in overrides or []:
        name, _, value = override.partition("=")
        _assign(merged, name.strip().split("."), _parse(value.strip()), override)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        problems = "; ".join(_told(item["loc"], item["msg"]) for item in error.errors())
        raise InputError(f"wrong settings for {kind.__name__}: {problems}") from error


def _told(location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, location))}: {message}" if location else message


def _deep_copy(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _deep_copy(value) if isinstance(value, dict) else value for key, value in table.items()}


def _assign(table: dict[str, Any], path: list[str], value: Any, override: str) -> None:
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise InputError(f"override {override!r}: {part!r} is a value, not a table of settings")
    table[path[-1]] = value


def _parse(text: str) -> Any:
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
