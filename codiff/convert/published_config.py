"""The sections of a published YAML configuration that say what a model is made of, validated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from codiff.errors import InputError

Count = Annotated[int, Field(gt=0, le=2**20)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SectionType = TypeVar("SectionType", bound="Section")

GROUPS = 32  # of every GroupNorm in the published code


class Section(BaseModel):
    """Settings that say how a model is trained or logged are left out."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class UNetParameters(Section):
    """Of the published `UNetModel`."""

    image_size: Count
    in_channels: Count
    out_channels: Count
    model_channels: Count
    attention_resolutions: list[Count]
    num_res_blocks: Count
    channel_mult: list[Count] = Field(min_length=1)
    num_heads: Count
    transformer_depth: Count = 1
    context_dim: Count
    use_spatial_transformer: bool
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    use_linear_in_transformer: bool = False
    conv_resample: bool = True
    num_classes: Count | None = None
    n_embed: Count | None = None
    num_head_channels: int = -1
    dims: int = 2

    @model_validator(mode="after")
    def _check(self) -> UNetParameters:
        _refuse_others(self, use_spatial_transformer=True, use_scale_shift_norm=False, resblock_updown=False,
                       use_linear_in_transformer=False, conv_resample=True, num_classes=None, n_embed=None,
                       num_head_channels=-1, dims=2)  # fmt: skip
        _check_groups(self.widths)
        if any(width % self.num_heads for width in self.widths):
            raise ValueError(f"widths {self.widths} must be divisible by num_heads {self.num_heads}")
        if self.channel_mult[0] != 1:
            raise ValueError("channel_mult must begin with 1: the published UNet fails otherwise")
        return self

    @property
    def widths(self) -> list[int]:
        """By level."""
        return [self.model_channels * factor for factor in self.channel_mult]


class AutoencoderParameters(Section):
    """`ddconfig` of the published `AutoencoderKL`."""

    in_channels: Count
    out_ch: Count
    ch: Count
    ch_mult: list[Count] = Field(min_length=1)
    num_res_blocks: Count
    z_channels: Count
    resolution: Count
    attn_resolutions: list[int] = []
    double_z: bool = True
    tanh_out: bool = False
    use_linear_attn: bool = False
    resamp_with_conv: bool = True
    attn_type: str = "vanilla"

    @model_validator(mode="after")
    def _check(self) -> AutoencoderParameters:
        _refuse_others(self, attn_resolutions=[], double_z=True, tanh_out=False, use_linear_attn=False,
                       resamp_with_conv=True, attn_type="vanilla")  # fmt: skip
        _check_groups([self.ch, *self.widths])
        return self

    @property
    def widths(self) -> list[int]:
        """By level."""
        return [self.ch * factor for factor in self.ch_mult]


class FirstStage(Section):
    """`first_stage_config` of a uni-modal model."""

    embed_dim: Count
    ddconfig: AutoencoderParameters

    @model_validator(mode="after")
    def _check(self) -> FirstStage:
        if self.embed_dim != self.ddconfig.z_channels:
            raise ValueError(f"embed_dim {self.embed_dim} must equal z_channels {self.ddconfig.z_channels}")
        return self


class DiffusionParameters(Section):
    """What all diffusion models have."""

    linear_start: Positive
    linear_end: Positive
    timesteps: Count = 1000
    scale_factor: Positive = 1.0
    beta_schedule: str = "linear"
    parameterization: str = "eps"
    conditioning_key: str = "crossattn"

    @model_validator(mode="after")
    def _check(self) -> DiffusionParameters:
        _refuse_others(self, beta_schedule="linear", parameterization="eps", conditioning_key="crossattn")
        if max(self.linear_start, self.linear_end) >= 1:
            raise ValueError("linear_start and linear_end must be below 1")
        return self


class TextEncoder(Section):
    """Of the published text encoder."""

    n_embed: Count
    n_layer: Count
    vocab_size: Count = 30522
    max_seq_len: Count = 77


class PlanesEncoder(Section):
    """Of the published mask encoder, and of the sketch's that the code prepares."""

    context_dim: Count
    pixels: Count

    @model_validator(mode="before")
    @classmethod
    def _take_pixels(cls, values: Any) -> Any:
        """The number of pixels is called after the modality."""
        if isinstance(values, Mapping):
            named = [value for key, value in values.items() if str(key).endswith("_embed_dim")]
            return {**values, "pixels": named[0]} if len(named) == 1 else values
        return values

    @model_validator(mode="after")
    def _check(self) -> PlanesEncoder:
        if round(self.pixels**0.5) ** 2 != self.pixels:
            raise ValueError(f"{self.pixels} pixels are no square")
        return self


def _refuse_others(section: Section, **wanted: Any) -> None:
    """Options that change a model's computations and that no published model uses (ValueError)."""
    found = [f"{name}: {getattr(section, name)}" for name, value in wanted.items() if getattr(section, name) != value]
    if found:
        raise ValueError(f"{', '.join(found)} is not converted: no published model has it")


def _check_groups(widths: list[int]) -> None:
    if any(width % GROUPS for width in widths):
        raise ValueError(f"widths {widths} must be divisible by {GROUPS}")


def read_model(path: Path) -> dict[str, Any]:
    """The section `model` of a YAML file.

    Raises:
        InputError: missing, broken, or without it.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; expected one of the published YAML configurations") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise InputError(f"{path} has no section 'model'; expected one of the published YAML configurations")
    return model


def table(parent: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    """A section within a section.

    Raises:
        InputError: it is missing.
    """
    value = parent.get(key)
    if not isinstance(value, dict):
        raise InputError(f"{path} has no section {key!r}")
    return value


def section(kind: type[SectionType], values: Mapping[str, Any], path: Path) -> SectionType:
    """Validated settings.

    Raises:
        InputError: one is missing or wrong; all are named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        told = []
        for each in error.errors():
            place = ".".join(map(str, each["loc"]))
            told.append(f"{place}: {each['msg']}" if place else str(each["msg"]))
        raise InputError(f"{path}: {'; '.join(told)}".replace("Value error, ", "")) from error
