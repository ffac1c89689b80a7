"""Models by modality, saved one folder each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from codiff.errors import InputError

ModelType = TypeVar("ModelType", bound=ModelMixin)


class ModelDict(ModelMixin, ConfigMixin, Generic[ModelType]):
    """A mapping from modality to model that is itself a model; iterates in the order given.

    `save_pretrained` writes `<modality>/config.json` and `<modality>/*.safetensors`, and a `config.json` that lists the
    modalities in order, so that a member can also be loaded alone or copied into another model's folder.
    """

    member: ClassVar[type[Any]]

    @register_to_config
    def __init__(self, modalities: list[str] | None = None) -> None:  # noqa: ARG002  (registered in the config)
        super().__init__()
        self.models = nn.ModuleDict()

    @classmethod
    def of(cls, models: Mapping[str, ModelType]) -> Any:
        """The models by modality.

        Raises:
            InputError: a modality whose name cannot be a folder's.
        """
        for modality in models:
            _check_name(modality)
        result = cls(list(models))
        result.models.update(models)
        return result

    def __getitem__(self, modality: str) -> ModelType:
        try:
            model: Any = self.models[modality]
        except KeyError:
            raise InputError(f"this model has no modality {modality!r}; it has {', '.join(self.models)}") from None
        return model

    def __iter__(self) -> Iterator[str]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __contains__(self, modality: object) -> bool:
        return isinstance(modality, str) and modality in self.models

    def keys(self) -> list[str]:
        """The modalities in order."""
        return list(self.models)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write each model into a folder of its own."""
        folder = Path(save_directory)
        self.save_config(folder)
        for modality, model in self.models.items():
            model.save_pretrained(folder / modality, **kwargs)  # type: ignore[operator]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load what `save_pretrained` wrote from a local folder.

        Raises:
            InputError: the folder is not of this kind, or a modality's folder is missing or broken.
        """
        folder = Path(pretrained_model_name_or_path)
        subfolder = kwargs.pop("subfolder", None)
        folder = folder / subfolder if subfolder else folder
        try:
            modalities = list(cls.load_config(local_folder(folder))["modalities"])
        except (OSError, KeyError, TypeError) as error:
            raise InputError(f"{folder} is not a folder of {cls.__name__}: {error}") from error
        if not modalities:
            raise InputError(f"{folder} is not a folder of {cls.__name__}: it lists no modalities")
        models = {}
        for modality in modalities:
            _check_name(modality)
            try:
                models[modality] = in_own_memory(cls.member.from_pretrained(local_folder(folder / modality), **kwargs))
            except InputError:
                raise
            except Exception as error:  # whatever a damaged file makes a loader raise
                raise InputError(f"{folder / modality} cannot be loaded as {cls.member.__name__}: {error}") from error
        return cls.of(models)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move or cast all models; see `torch.nn.Module.to`."""
        return nn.Module.to(self, *args, **kwargs)

    def set_attention_slice(self, slice_size: str | int | list[int]) -> None:
        """Compute attention in slices; see `DiffusionPipeline.enable_attention_slicing`."""
        for modality in self:
            member: Any = self[modality]
            member.network.unet.set_attention_slice(slice_size)

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of the parameters."""
        return next(self.parameters()).device


def _check_name(modality: Any) -> None:
    """Refuse a name that cannot be a folder's, or a submodule's because a method has it (InputError)."""
    usable = isinstance(modality, str) and modality and not any(character in modality for character in "./\\ \0")
    if not usable or hasattr(nn.ModuleDict, modality) or modality == "training":
        raise InputError(f"modality name {modality!r} cannot be used: use letters, digits, '-' and '_'")


def local_folder(folder: Path) -> Path:
    """The folder, if it is there: loaders take a missing one for a hub id and try to download it.

    Raises:
        InputError: it is not there.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; copy or download the whole model again")
    return folder


_ALIGNMENT = 64
_LARGE = 256 * 2**20


def in_own_memory(model: ModelType) -> ModelType:
    """The model with copies of its weights where they lie in the file's pages: a file that is overwritten in place
    would change them, and kernels round otherwise where the alignment is not memory's, so that the model would differ
    from the one that was saved in the last bit. Aligned weights of a large model stay mapped: that costs no second
    memory, and as much reading as the model is used."""
    large = sum(value.nbytes for value in model.parameters()) >= _LARGE
    for value in (*model.parameters(), *model.buffers()):
        if not large or value.data_ptr() % _ALIGNMENT:
            value.data = value.data.clone()
    return model
