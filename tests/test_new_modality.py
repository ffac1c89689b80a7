"""A modality that codiff has never heard of, from its definition to its pictures, without touching shared code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from models import DYNAMIC_UNET, FEATURES, PIXELS, SCHEDULE, UNET, autoencoder, collaborator, seeded
from PIL import Image
from torch import Tensor, nn

from codiff import (
    CollaborativePipeline,
    Collaborator,
    Collaborators,
    DynamicDiffuser,
    DynamicDiffusers,
    InputError,
    Modality,
    generators,
)
from codiff.training.collaborator import CollaboratorSettings, CollaboratorStage, build_collaborator
from codiff.training.dynamic_diffusers import DynamicDiffusersSettings, DynamicDiffusersStage
from codiff.training.loop import train

# diffusers makes numpy arrays of tensors in a way that numpy 2 will give up
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Colour = tuple[int, int, int]


class Palette(Modality, name="palette"):
    """The colours of a face: a list of RGB colours in 0..255 -> one token each."""

    def __init__(self, colours: int = 3, features: int = FEATURES) -> None:
        super().__init__()
        self.colours = colours
        self.embed = nn.Sequential(nn.Linear(3, features), nn.SiLU(), nn.Linear(features, features))
        self.places = nn.Parameter(torch.zeros(colours, features))

    def read(self, raw: Any) -> Tensor:
        """Colours (1, colours, 3) in [-1, 1]."""
        try:
            values = torch.tensor(raw, dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"palette: {self.colours} RGB colours are expected: {error}") from error
        if values.shape != (self.colours, 3) or values.min() < 0 or values.max() > 255:
            raise InputError(f"palette: {self.colours} RGB colours in 0..255 are expected, not {raw}")
        return values[None] / 127.5 - 1

    def read_all(self, raw: Any) -> Tensor:
        """A palette is a list itself: a batch is a list of palettes."""
        batch = isinstance(raw, list) and raw and isinstance(raw[0], list)
        return super().read_all(raw if batch else [raw])

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (batch, colours, features)."""
        tokens: Tensor = self.embed(inputs) + self.places
        return tokens

    def picture(self, inputs: Tensor, size: int) -> Image.Image:
        """The colours side by side."""
        row = ((inputs[0] + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
        return Image.fromarray(row[None]).resize((size, size), Image.Resampling.NEAREST)


@dataclass
class Portrait:
    """Three bands of colour, and where the first ends."""

    palette: list[Colour]
    mask: np.ndarray

    @property
    def image(self) -> np.ndarray:
        return np.array(self.palette, np.uint8)[self.mask]

    @property
    def alternatives(self) -> dict[str, Sequence[Any]]:
        return {"palette": [self.palette], "mask": [self.mask]}


def portraits(count: int) -> list[Portrait]:
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        palette: list[Colour] = [tuple(map(int, random.integers(0, 256, 3))) for _ in range(3)]  # type: ignore[misc]
        mask = np.zeros((PIXELS, PIXELS), np.uint8)
        mask[int(random.integers(4, 16)) :] = 1
        mask[24:] = 2
        drawn.append(Portrait(palette, mask))
    return drawn


LOOP: dict[str, Any] = {"steps": 4, "batch_size": 4, "learning_rate": 1e-2, "ema_decay": 0.9, "log_every": 100}
RED: list[Colour] = [(255, 0, 0), (128, 0, 0), (64, 0, 0)]
BLUE: list[Colour] = [(0, 0, 255), (0, 0, 128), (0, 0, 64)]
MASK = portraits(1)[0].mask


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> list[str]:
    return [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]


@pytest.fixture(scope="module", autouse=True)
def _own_random_state() -> Iterator[None]:
    """Training seeds the global generator."""
    with torch.random.fork_rng():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose palette collaborator and whose dynamic diffusers are trained here."""
    home = tmp_path_factory.mktemp("training")
    vae, examples = autoencoder(), portraits(8)
    settings = CollaboratorSettings(modality="palette", unet_config=UNET, schedule=SCHEDULE, loop=LOOP)  # type: ignore[arg-type]
    palette = build_collaborator(settings, latent_channels=4)
    before = copied_weights(palette)
    folder = train(CollaboratorStage(settings, vae, examples, palette, None), home / "palette")
    assert {name.split(".")[0] for name in changed(before, palette)} == {"encoder", "network"}  # both learn

    both = Collaborators.of({"palette": Collaborator.from_pretrained(folder), "mask": collaborator("mask")})
    frozen = copied_weights(both)
    stage_settings = DynamicDiffusersSettings(unet_config=DYNAMIC_UNET, schedule=SCHEDULE, loop=LOOP)  # type: ignore[arg-type]
    stage = DynamicDiffusersStage(stage_settings, vae, examples, both, None)
    untrained = copied_weights(stage.model)
    folder = train(stage, home / "dynamic-diffusers")
    assert changed(frozen, both) == []
    assert not any(parameter.requires_grad for parameter in both.parameters())
    assert {name.split(".")[1] for name in changed(untrained, stage.model)} == {"palette", "mask"}

    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False)
    pipe = CollaborativePipeline(vae, both.eval(), DynamicDiffusers.from_pretrained(folder).eval(), scheduler)
    pipe.save_pretrained(home / "model")
    return home / "model"


@pytest.fixture(scope="module")
def pipe(trained: Path) -> CollaborativePipeline:
    loaded = CollaborativePipeline.from_pretrained(trained)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def latents_of(pipe: CollaborativePipeline, conditions: dict[str, Any], count: int = 1) -> Tensor:
    sources = generators(0, count)
    latents = pipe(conditions, num_inference_steps=4, generator=sources, output_type="latent").images
    assert isinstance(latents, Tensor)
    return latents


def test_it_is_one_of_the_models_modalities(pipe: CollaborativePipeline) -> None:
    assert pipe.modalities == ["palette", "mask"]
    assert isinstance(pipe.collaborators["palette"].encoder, Palette)


def test_it_generates_alone_and_together(pipe: CollaborativePipeline) -> None:
    output = pipe({"palette": RED, "mask": MASK}, num_inference_steps=4, generator=[seeded(0)], return_influences=True)
    assert output.images[0].size == (PIXELS, PIXELS)
    assert output.influences is not None
    assert list(output.influences) == ["palette", "mask"]
    torch.testing.assert_close(output.influences["palette"] + output.influences["mask"], torch.ones(4, 1, 1, 4, 4))
    assert latents_of(pipe, {"palette": RED}).isfinite().all()
    assert latents_of(pipe, {"mask": MASK}).isfinite().all()


def test_it_is_obeyed_by_the_picture(pipe: CollaborativePipeline) -> None:
    red, blue = (latents_of(pipe, {"palette": colours, "mask": MASK}) for colours in (RED, BLUE))
    assert not torch.allclose(red, blue)
    assert torch.equal(red, latents_of(pipe, {"palette": RED, "mask": MASK}))


def test_batches_of_it(pipe: CollaborativePipeline) -> None:
    batch = latents_of(pipe, {"palette": [RED, BLUE], "mask": MASK}, count=2)
    torch.testing.assert_close(batch[:1], latents_of(pipe, {"palette": RED, "mask": MASK}), atol=1e-4, rtol=1e-4)


def test_guidance_away_from_it(pipe: CollaborativePipeline) -> None:
    common: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent", "guidance_scale": 3.0}
    guided = pipe({"palette": RED}, generator=[seeded(0)], **common).images
    away = pipe({"palette": RED}, generator=[seeded(0)], negative_conditions={"palette": BLUE}, **common).images
    assert not torch.allclose(guided, away)


@pytest.mark.parametrize("wrong", [RED[:2], [(1, 2, 300)] * 3, "red", 3, None, []])
def test_its_own_errors_come_through(pipe: CollaborativePipeline, wrong: Any) -> None:
    with pytest.raises(InputError, match="palette"):
        pipe({"palette": wrong, "mask": MASK}, num_inference_steps=1)


def test_its_weights_survive_saving(trained: Path, pipe: CollaborativePipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "again")
    again = CollaborativePipeline.from_pretrained(tmp_path / "again")
    again.set_progress_bar_config(disable=True)
    conditions = {"palette": RED, "mask": MASK}
    assert torch.equal(latents_of(again, conditions), latents_of(pipe, conditions))
    member = DynamicDiffuser.from_pretrained(trained / "dynamic_diffusers" / "palette")
    assert changed(copied_weights(member), pipe.dynamic_diffusers["palette"]) == []


def test_the_training_run_is_complete(trained: Path) -> None:
    run = trained.parent / "palette"
    with Image.open(run / "samples" / "step-0000004.png") as sample:
        assert sample.size == (8 * PIXELS, 2 * PIXELS)  # palettes above, pictures below
    assert (run / "checkpoint" / "progress.json").exists()
    assert (run / "settings.json").exists()


def test_training_again_goes_no_further_and_gives_the_same(trained: Path) -> None:
    settings = CollaboratorSettings(modality="palette", unet_config=UNET, schedule=SCHEDULE, loop=LOOP)  # type: ignore[arg-type]
    model = build_collaborator(settings, latent_channels=4)
    folder = train(CollaboratorStage(settings, autoencoder(), portraits(8), model, None), trained.parent / "palette")
    before = copied_weights(Collaborator.from_pretrained(trained / "collaborators" / "palette"))
    assert changed(before, Collaborator.from_pretrained(folder)) == []


def test_a_program_that_does_not_define_it_is_told(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Modality._registry, "palette")
    with pytest.raises(InputError, match=r"unknown modality encoder 'palette'; .*Import the module that defines it"):
        CollaborativePipeline.from_pretrained(trained)
