"""Conversion: every key accounted for, every file that is not what it should be refused, nothing in it run."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from golden import FOLDER, REAL, SHARED, Golden, distance
from torch import Tensor

from codiff import CollaborativePipeline, InputError, InputNotice, Mean, official_recipe
from codiff.convert import Description, convert, preset_description, presets, yaml_description
from codiff.convert.checkpoint import open_checkpoint
from codiff.convert.parts import account
from codiff.convert.schedule import schedule_buffers
from codiff.convert.sources import COMPOSED, VAE, role_of
from codiff.convert.sources import parts_of as source_parts
from codiff.main import main
from codiff.modalities import TextModality
from codiff.modalities.word_pieces import word_piece_tokenizer

INVENTORY = SHARED / "reference" / "inventory"
requires_inventory = pytest.mark.skipif(not INVENTORY.is_dir(), reason=f"the inventories are not here ({INVENTORY})")
VOCABULARY = REAL / "tokenizer" / "bert-base-uncased-vocab.txt"
MASK = REAL / "official_examples" / "27007.png"
requires_real = pytest.mark.skipif(not VOCABULARY.is_file(), reason=f"{VOCABULARY} is not here")

UNET, DYNAMIC_DIFFUSER = 403_623_939, 13_136_321


def inventory(name: str) -> dict[str, Tensor]:
    """A published file's tensors, without data."""
    listed = json.loads((INVENTORY / f"{name}.json").read_text())
    return {key: torch.empty(entry["shape"], device="meta") for key, entry in listed.items()}


ROLES = {"codiff_mask_text": COMPOSED, "vae": VAE}


def parts_of(size: int, role: str) -> list[Any]:
    return source_parts(Path("file"), ROLES.get(role, role), preset_description(f"celebahq-{size}"))


# -- full-size files ---------------------------------------------------------------------------------------------------


@requires_inventory
@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("role", ["codiff_mask_text", "text", "mask", "vae"])
def test_inventories(size: int, role: str) -> None:
    state = inventory(f"{size}_{role}")
    parts = parts_of(size, role)
    buffers = schedule_buffers(preset_description(f"celebahq-{size}").scheduler)
    result = account(Path("file"), state, parts, buffers)
    assert len(result.used) + sum(map(len, result.ignored.values())) == len(state)
    counts = {part.folder: part.model for part in parts}
    for folder, model in counts.items():
        if folder.startswith("collaborators"):
            assert sum(value.numel() for value in model.network.parameters()) == UNET
        if folder.startswith("dynamic_diffusers"):
            assert sum(value.numel() for value in model.parameters()) == DYNAMIC_DIFFUSER
    if role == "vae":
        assert {key.partition(".")[0] for keys in result.ignored.values() for key in keys} == {"loss"}


@requires_inventory
@pytest.mark.parametrize("role", ["codiff_mask_text", "text", "mask", "vae"])
@pytest.mark.parametrize(("size", "other"), [(256, 512), (512, 256)])
def test_no_file_passes_for_one_of_the_other_size(size: int, other: int, role: str) -> None:
    buffers = schedule_buffers(preset_description(f"celebahq-{size}").scheduler)
    with pytest.raises(InputError, match=r"(lacks|also holds) (first_stage_model\.)?\w+coder\..* and \d+ more"):
        account(Path("file"), inventory(f"{other}_{role}"), parts_of(size, role), buffers)


def test_presets() -> None:
    assert presets() == ["celebahq-256", "celebahq-512"]
    assert preset_description("celebahq-256").vae["scaling_factor"] == 0.058
    assert preset_description("celebahq-512").vae["scaling_factor"] == 0.141
    with pytest.raises(InputError, match="no preset 'celebahq-1024' of a published model; there are celebahq-256"):
        preset_description("celebahq-1024")


# -- sketches, which were never published ------------------------------------------------------------------------------


def with_sketch(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A collaborative file's tensors with those of a sketch model beside the mask's, which has the same shapes."""
    sketch = {key.replace("seg_mask", "sketch"): value for key, value in state.items() if "seg_mask" in key}
    assert sketch
    return {**state, **sketch}


@requires_inventory
@pytest.mark.parametrize("size", [256, 512])
def test_presets_know_sketches_where_files_tell_of_them(size: int) -> None:
    description = preset_description(f"celebahq-{size}")
    buffers = schedule_buffers(description.scheduler)
    composed = inventory(f"{size}_codiff_mask_text")
    for name, state in (
        ("sketch", inventory(f"{size}_mask")),
        ("codiff_mask_text", composed),
        ("codiff_mask_text_sketch", with_sketch(composed)),
    ):
        path = Path(f"{size}_{name}.ckpt")
        parts = source_parts(path, role_of(path), description)
        result = account(path, state, parts, buffers)
        assert len(result.used) + sum(map(len, result.ignored.values())) == len(state)
        assert ("collaborators/sketch" in {part.folder for part in parts}) == ("sketch" in name)


def described_with_sketch(golden: Golden) -> Description:
    """The tiny set's description, as a preset would have it."""
    description = yaml_description(golden.config)
    sketch = {**description.collaborators["mask"], "modality": "sketch", "encoder_name": "sketch-plane"}
    return replace(description, collaborators={**description.collaborators, "sketch": sketch}, optional=["sketch"])


def test_a_collaborative_file_with_a_sketch_model(golden: Golden, tmp_path: Path) -> None:
    description, path = described_with_sketch(golden), tmp_path / f"{golden.name}_codiff_mask_text_sketch.ckpt"
    state = open_checkpoint(golden.checkpoints / f"{golden.name}_codiff_mask_text.ckpt")
    torch.save({"state_dict": with_sketch(state)}, path)
    shutil.copy(golden.checkpoints / f"{golden.name}_codiff_mask_text.ckpt", tmp_path)
    report = convert(tmp_path, tmp_path / "model", description, name=golden.name)
    assert list(report["files"]) == [path.name]
    pipe = CollaborativePipeline.from_pretrained(tmp_path / "model")
    assert pipe.modalities == ["mask", "text", "sketch"]
    expected = golden.pipe.collaborators["mask"].network.state_dict()
    assert all(
        torch.equal(value, expected[key]) for key, value in pipe.collaborators["sketch"].network.state_dict().items()
    )
    lines = torch.zeros(32, 32)
    lines[10] = 1
    assert pipe.collaborators["sketch"].encode(lines).shape == (1, 1, 32)
    path.rename(tmp_path / f"{golden.name}_codiff_mask_text.ckpt")
    with pytest.raises(
        InputError, match=r"also has a model of sketch, which its name must tell .*_codiff_mask_text_sketch"
    ):
        convert(tmp_path, tmp_path / "other", description, name=golden.name)


def test_a_sketch_file_alone_and_none_at_all(golden: Golden, tmp_path: Path) -> None:
    description = described_with_sketch(golden)
    report = convert(golden.checkpoints, tmp_path / "without", description, name=golden.name)
    assert sorted(report["parts"]) == sorted(json.loads((golden.model / "conversion.json").read_text())["parts"])
    path = tmp_path / f"{golden.name}_sketch.ckpt"
    shutil.copy(golden.checkpoints / f"{golden.name}_mask.ckpt", path)
    convert(path, tmp_path / "model", description, name=golden.name)
    assert CollaborativePipeline.from_pretrained(tmp_path / "model").modalities == ["sketch"]
    state = open_checkpoint(golden.checkpoints / f"{golden.name}_mask.ckpt")
    state["cond_stage_model.linear.weight"] = state["cond_stage_model.linear.weight"][:, :-1].clone()
    torch.save({"state_dict": state}, path)
    with pytest.raises(InputError, match=r"cond_stage_model\.linear\.weight of another shape"):
        convert(path, tmp_path / "other", description, name=golden.name)


# -- the tiny set ------------------------------------------------------------------------------------------------------


def test_everything_in_the_collaborative_file_is_accounted_for(golden: Golden) -> None:
    report = json.loads((golden.model / "conversion.json").read_text())
    ((name, told),) = report["files"].items()
    assert name == f"{golden.name}_codiff_mask_text.ckpt"
    state = open_checkpoint(golden.checkpoints / name)
    ignored = [key for keys in told["ignored"].values() for key in keys]
    assert told["used"] + len(ignored) == len(state)
    assert set(ignored) < set(state)
    assert sorted(map(len, told["ignored"].values())) == [2, 12]
    modalities = golden.pipe.modalities
    folders = [f"{group}/{name}" for group in ("collaborators", "dynamic_diffusers") for name in modalities]
    assert set(report["parts"]) == {"vae", *folders}
    assert report["unread"] == [f"{golden.name}_{role}.ckpt" for role in ("mask", "text", "vae")]


def test_unimodal_files_give_single_collaborators(golden: Golden, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    for role in ("text", "mask", "vae"):
        shutil.copy(golden.checkpoints / f"{golden.name}_{role}.ckpt", checkpoints)
    convert(checkpoints, tmp_path / "model", yaml_description(golden.config), name=golden.name)
    pipe = CollaborativePipeline.from_pretrained(tmp_path / "model")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.modalities == ["mask", "text"]
    assert pipe.dynamic_diffusers is None
    for modality in pipe.modalities:
        expected = golden.pipe.collaborators[modality].state_dict()
        for key, value in pipe.collaborators[modality].state_dict().items():
            assert torch.equal(value, expected[key])
    conditions = {"text": golden.ids[:1], "mask": golden.one_hot}
    with pytest.raises(InputError, match="no dynamic diffusers"):
        pipe(conditions)
    with pytest.warns(InputNotice, match="trained without condition dropout"):
        pipe({"mask": golden.one_hot}, num_inference_steps=1, guidance_scale=2.0)
    pipe(conditions, num_inference_steps=1, composition=Mean(pipe.collaborators))


def test_one_unimodal_configuration(golden: Golden, tmp_path: Path) -> None:
    config = FOLDER / "configs" / f"{golden.name}_text.yaml"
    file = golden.checkpoints / f"{golden.name}_text.ckpt"
    convert(file, tmp_path / "model", yaml_description(config), name=golden.name)
    pipe = CollaborativePipeline.from_pretrained(tmp_path / "model")
    assert pipe.modalities == ["text"]
    composed = golden.checkpoints / f"{golden.name}_codiff_mask_text.ckpt"
    with pytest.raises(InputError, match="describes one modality"):
        convert(composed, tmp_path / "other", yaml_description(config), name=golden.name)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision(golden: Golden, tmp_path: Path, dtype: torch.dtype, tolerance: float) -> None:
    description = yaml_description(golden.config)
    convert(golden.checkpoints, tmp_path / "model", description, name=golden.name, dtype=dtype)
    pipe = CollaborativePipeline.from_pretrained(tmp_path / "model")
    x = golden.expected("unimodal_eps")["x"]
    with torch.no_grad():
        tokens = {"text": pipe.collaborators["text"].encode(golden.ids)}
        found = pipe.collaborators["text"](x, torch.full((len(x),), 250), tokens).sample
    assert 0 < distance(found, golden.expected("unimodal_eps")["text_t250"]) < tolerance
    weights = next((tmp_path / "model" / "collaborators" / "text").glob("*00001*.safetensors"))
    whole = next((golden.model / "collaborators" / "text").glob("*00001*.safetensors"))
    assert weights.stat().st_size < 0.6 * whole.stat().st_size


def test_a_converted_folder_is_saved_and_loaded_bit_by_bit(golden: Golden, tmp_path: Path) -> None:
    golden.pipe.save_pretrained(tmp_path / "again")
    loaded = CollaborativePipeline.from_pretrained(tmp_path / "again")
    for name in ("vae", "collaborators", "dynamic_diffusers"):
        expected = getattr(golden.pipe, name).state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in getattr(loaded, name).state_dict().items())
    assert type(loaded.vae) is type(golden.pipe.vae)


def test_the_published_recipe_differs_from_the_paper(golden: Golden) -> None:
    x = golden.expected("ddim_eta0_paper")["x_T"]
    settings: dict[str, Any] = {"latents": x, "num_inference_steps": 2, "output_type": "latent"}
    conditions = {"text": golden.ids, "mask": golden.one_hot}
    recipe = golden.composition(reweight=official_recipe)
    paper, published = golden.pipe(conditions, **settings), golden.pipe(conditions, composition=recipe, **settings)
    assert distance(published.images, paper.images) > 1e-3


# -- what is not what it should be -------------------------------------------------------------------------------------


def rewritten(golden: Golden, folder: Path, role: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A checkpoint of the set with another state dict."""
    state = open_checkpoint(golden.checkpoints / f"{golden.name}_{role}.ckpt")
    change(state)
    path = folder / f"{golden.name}_{role}.ckpt"
    torch.save({"state_dict": state}, path)
    return path


def refusal(golden: Golden, source: Path, folder: Path) -> str:
    """Why a file is refused; nothing is left of the attempt."""
    before = {path for path in folder.rglob("*") if path != source}
    with pytest.raises(InputError) as told:
        convert(source, folder / "model", yaml_description(golden.config), name=golden.name)
    assert {path for path in folder.rglob("*") if path != source} == before
    return str(told.value)


KEY = "model.text_unet.diffusion_model.input_blocks.0.0.weight"


def test_missing_keys(golden: Golden, tmp_path: Path) -> None:
    path = rewritten(golden, tmp_path, "codiff_mask_text", lambda state: state.pop(KEY))
    assert f"{path} lacks {KEY}. The wrong preset" in refusal(golden, path, tmp_path)


def test_extra_keys(golden: Golden, tmp_path: Path) -> None:
    path = rewritten(golden, tmp_path, "codiff_mask_text", lambda state: state.update(extra=torch.zeros(1)))
    assert "also holds extra, which the configuration has no place for" in refusal(golden, path, tmp_path)


def test_misshaped_keys(golden: Golden, tmp_path: Path) -> None:
    path = rewritten(golden, tmp_path, "codiff_mask_text", lambda state: state.update({KEY: torch.zeros(1, 2)}))
    assert f"{KEY} of another shape: (1, 2) where the configuration has (" in refusal(golden, path, tmp_path)


def test_another_noise_schedule(golden: Golden, tmp_path: Path) -> None:
    change = {"betas": torch.linspace(1e-4, 2e-2, 1000)}
    path = rewritten(golden, tmp_path, "codiff_mask_text", lambda state: state.update(change))
    assert "its noise schedule (betas) is not the one of the configuration" in refusal(golden, path, tmp_path)


@pytest.mark.parametrize(
    ("held", "named"), [("text", "codiff_mask_text"), ("codiff_mask_text", "text"), ("mask", "text"), ("vae", "mask")]
)
def test_mislabelled_files(golden: Golden, tmp_path: Path, held: str, named: str) -> None:
    path = tmp_path / f"{golden.name}_{named}.ckpt"
    shutil.copy(golden.checkpoints / f"{golden.name}_{held}.ckpt", path)
    roles = {"codiff_mask_text": "collaborative", "vae": "autoencoder"}
    told = refusal(golden, path, tmp_path)
    assert f"is named as a {roles.get(named, named)} file, but holds a {roles.get(held, held)} model" in told


def test_files_without_a_role(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    shutil.copy(golden.checkpoints / f"{golden.name}_text.ckpt", path)
    assert "last.ckpt is not named like a published file" in refusal(golden, path, tmp_path)
    assert f"holds no {golden.name}_codiff_mask_text.ckpt nor any of" in refusal(golden, tmp_path, tmp_path)
    assert "there is no folder" in refusal(golden, tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize("key", ["betas", "posterior_mean_coef2"])
def test_a_schedule_that_is_not_there(golden: Golden, tmp_path: Path, key: str) -> None:
    path = rewritten(golden, tmp_path, "codiff_mask_text", lambda state: state.pop(key))
    assert f"{path} lacks {key}" in refusal(golden, path, tmp_path)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (lambda weight: weight.long(), "of type torch.int64, where real numbers are expected"),
        (lambda weight: weight.to(torch.complex64), "of type torch.complex64"),
        (lambda weight: weight * torch.nan, f"{KEY} holds values that are not finite in float32"),
        (lambda weight: weight.to_sparse(), "holds no 'state_dict' of plain tensors"),
        (lambda weight: weight.to("meta"), "holds no 'state_dict' of plain tensors"),
    ],
)
def test_weights_that_are_none(golden: Golden, tmp_path: Path, value: Callable[[Tensor], Tensor], told: str) -> None:
    path = rewritten(golden, tmp_path, "codiff_mask_text", lambda state: state.update({KEY: value(state[KEY])}))
    assert told in refusal(golden, path, tmp_path)


def test_weights_beyond_half_precision(golden: Golden, tmp_path: Path) -> None:
    path = rewritten(golden, tmp_path, "codiff_mask_text", lambda state: state.update({KEY: 1e6 + state[KEY]}))
    with pytest.raises(InputError, match=r"not finite in float16; --half bf16 has the range"):
        convert(path, tmp_path / "model", yaml_description(golden.config), name=golden.name, dtype=torch.float16)
    assert not (tmp_path / "model").exists()


def test_weights_in_any_memory_order(golden: Golden, tmp_path: Path) -> None:
    path = rewritten(
        golden,
        tmp_path,
        "text",
        lambda state: state.update(
            {key: value.to(memory_format=torch.channels_last) for key, value in state.items() if value.ndim == 4}
        ),
    )
    convert(path, tmp_path / "model", yaml_description(golden.config), name=golden.name)
    loaded = CollaborativePipeline.from_pretrained(tmp_path / "model").collaborators["text"].state_dict()
    expected = golden.pipe.collaborators["text"].state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.items())


def test_truncated_files(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / f"{golden.name}_codiff_mask_text.ckpt"
    content = (golden.checkpoints / path.name).read_bytes()
    for kept in (0, 100, len(content) // 2, len(content) - 100):
        path.write_bytes(content[:kept])
        assert "ownload it again" in refusal(golden, path, tmp_path)


def test_damaged_files(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / f"{golden.name}_codiff_mask_text.ckpt"
    content = bytearray((golden.checkpoints / path.name).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = bytes(1000)
    path.write_bytes(content)
    assert "is damaged (at " in refusal(golden, path, tmp_path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"GIF89a", ""), (b"<!DOCTYPE html>", "download"), (pickle.dumps({"state_dict": {}}), "")],
)
def test_foreign_files(golden: Golden, tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / f"{golden.name}_text.ckpt"
    path.write_bytes(content)
    told = refusal(golden, path, tmp_path)
    assert "is not a PyTorch checkpoint as the published ones are" in told
    assert kind.lower() in told.lower()


def test_files_of_older_software(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / f"{golden.name}_text.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path, _use_new_zipfile_serialization=False)
    assert "it looks like a checkpoint of PyTorch before 1.6" in refusal(golden, path, tmp_path)


def test_files_of_other_software(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / f"{golden.name}_text.ckpt"
    tensors = {"state_dict": {1: torch.zeros(1)}}
    foreign: list[Any] = [[1, 2], {"model": {}}, {"state_dict": {}}, {"state_dict": {"a": "text"}}, tensors]
    for content in foreign:
        torch.save(content, path)
        assert "holds no 'state_dict' of plain tensors" in refusal(golden, path, tmp_path)
    torch.save({"state_dict": {"layer.weight": torch.zeros(2)}}, path)
    assert "is named as a text file, but holds a model of another kind" in refusal(golden, path, tmp_path)


def test_other_sets_in_the_same_folder(golden: Golden, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    for name in (golden.name, f"{golden.name}_b"):
        for role in ("text", "mask"):
            shutil.copy(golden.checkpoints / f"{golden.name}_{role}.ckpt", checkpoints / f"{name}_{role}.ckpt")
    report = convert(checkpoints, tmp_path / "model", yaml_description(golden.config), name=golden.name)
    assert set(report["files"]) == {f"{golden.name}_mask.ckpt", f"{golden.name}_text.ckpt"}
    assert report["unread"] == [f"{golden.name}_b_mask.ckpt", f"{golden.name}_b_text.ckpt"]


def test_models_of_different_autoencoders(golden: Golden, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    shutil.copy(golden.checkpoints / f"{golden.name}_text.ckpt", checkpoints)
    key = "first_stage_model.encoder.conv_in.bias"
    rewritten(golden, checkpoints, "mask", lambda state: state.update({key: state[key] + 1}))
    assert f"were trained on different autoencoders ({key})" in refusal(golden, checkpoints, tmp_path)


def test_an_autoencoder_alone(golden: Golden, tmp_path: Path) -> None:
    file = golden.checkpoints / f"{golden.name}_vae.ckpt"
    report = convert(file, tmp_path / "model", yaml_description(golden.config), name=golden.name)
    assert list(report["parts"]) == ["vae"]
    assert list(report["files"][file.name]["ignored"]) == ["losses of the autoencoder's training"]
    loaded = type(golden.pipe.vae).from_pretrained(tmp_path / "model" / "vae").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in golden.pipe.vae.state_dict().items())


class Malicious:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {self.path}",)


def test_malicious_files(golden: Golden, tmp_path: Path) -> None:
    created = tmp_path / "created"
    path = tmp_path / f"{golden.name}_text.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callbacks": {"x": Malicious(created)}}, path)
    assert "system, which no published checkpoint does; nothing in the file was run" in refusal(golden, path, tmp_path)
    assert not created.exists()


def test_only_the_known_class_is_admitted(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / f"{golden.name}_text.ckpt"
    code = (
        "import sys, types, torch; m = types.ModuleType('pytorch_lightning'); m.C = type('C', (), "
        "{'__module__': 'pytorch_lightning'}); sys.modules['pytorch_lightning'] = m; "
        f"torch.save({{'state_dict': {{'a': torch.zeros(1)}}, 'callbacks': {{m.C: 1}}}}, {str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "refers to pytorch_lightning.C, which no published checkpoint does" in refusal(golden, path, tmp_path)


@pytest.mark.parametrize("code", ["eval", "getattr"])
def test_builtins_are_named(golden: Golden, tmp_path: Path, code: str) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return {"eval": (eval, ("1",)), "getattr": (getattr, ("a", "upper"))}[code]

    path = tmp_path / f"{golden.name}_text.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callbacks": Evil()}, path)
    told = refusal(golden, path, tmp_path)
    assert f"{code}, which no published checkpoint does" in told
    assert "weights_only" not in told


def test_the_output_is_not_lost(golden: Golden, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    assert "holds something else than a model" in refusal(golden, golden.checkpoints, tmp_path)
    shutil.copy(golden.model / "model_index.json", tmp_path / "model")
    assert "holds something else than a model (mine.txt, ...)" in refusal(golden, golden.checkpoints, tmp_path)
    (tmp_path / "model" / "mine.txt").unlink()
    (tmp_path / "model" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    assert "holds a StableDiffusionPipeline" in refusal(golden, golden.checkpoints, tmp_path)
    (tmp_path / "model" / "model_index.json").write_text('{"_class_name": "CollaborativePipeline"}')
    file = tmp_path / "model" / f"{golden.name}_text.ckpt"
    shutil.copy(golden.checkpoints / file.name, file)
    assert f"holds something else than a model ({file.name}, ...)" in refusal(golden, file, tmp_path)


def test_output_folders_that_cannot_be(golden: Golden, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for output in (tmp_path / ("x" * 300), tmp_path / "loop" / "model"):
        with pytest.raises(InputError, match="cannot write"):
            convert(golden.checkpoints, output, yaml_description(golden.config), name=golden.name)


def test_one_conversion_at_a_time(golden: Golden, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".model.lock"), pytest.raises(InputError, match="being written by another process"):
        convert(golden.checkpoints, tmp_path / "model", yaml_description(golden.config), name=golden.name)


# -- configurations ----------------------------------------------------------------------------------------------------


def edited(golden: Golden, folder: Path, replacements: Mapping[str, str], file: str = "codiff_mask_text") -> Path:
    shutil.copytree(FOLDER / "configs", folder / "configs", dirs_exist_ok=True)
    path = folder / "configs" / f"{golden.name}_{file}.yaml"
    content = path.read_text()
    for old, new in replacements.items():
        assert old in content
        content = content.replace(old, new)
    path.write_text(content)
    return folder / "configs" / f"{golden.name}_codiff_mask_text.yaml"


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("codiff_mask_text", "model:", "other:", "has no section 'model'"),
        ("codiff_mask_text", "model:", "model: [", "cannot be read"),
        ("codiff_mask_text", "LatentDiffusionCompose", "Other", "describes a Other; expected"),
        ("codiff_mask_text", "linear_start: 0.0015", "", "codiff_mask_text.yaml: linear_start: Field required"),
        ("codiff_mask_text", "linear_start: 0.0015", "linear_start: -1", "greater than 0"),
        ("codiff_mask_text", "scale_factor: 0.141", "scale_factor: .nan", "scale_factor: Input should be"),
        ("codiff_mask_text", "out_channels: 1", "out_channels: 2", "a dynamic diffuser has out_channels 1"),
        (
            "codiff_mask_text",
            "seg_mask_ldm_config_path: configs/tiny_mask",
            "seg_mask_ldm_config_path: configs/tiny_text",
            "names two models of text",
        ),
        ("codiff_mask_text", "image_size: 16", "image_size: [16, 16]", "image_size"),
        ("codiff_mask_text", "_text.yaml", "_nowhere.yaml", "which is at none of"),
        ("text", "BERTEmbedder", "Other", "the condition encoder 'Other' is unknown"),
        ("text", "attn_resolutions: [ ]", "attn_resolutions: [16]", "attn_resolutions: [16] is not converted"),
        ("text", "attn_resolutions: [ ]", "tanh_out: True", "tanh_out: True is not converted"),
        ("text", "linear_end: 0.0195", "linear_end: 0.0195\n    parameterization: x0", "parameterization: x0"),
        ("text", "model_channels: 32", "model_channels: 33", "must be divisible by 32"),
        ("text", "num_heads: 4", "num_heads: 0", "num_heads: Input should be greater than 0"),
        ("text", "n_layer: 2", "n_layer: x", "tiny_text.yaml: n_layer: Input should be a valid integer"),
        ("mask", "mask_embed_dim: 1024", "mask_embed_dim: 1000", "1000 pixels are no square"),
        ("mask", "mask_embed_dim: 1024", "", "pixels: Field required"),
        ("text", "embed_dim: 3", "embed_dim: 4", "embed_dim 4 must equal z_channels"),
        ("text", "legacy: False", "use_scale_shift_norm: True", "use_scale_shift_norm: True is not converted"),
        ("text", "model_channels:", "channels_of_the_model:", "model_channels: Field required"),
    ],
)
def test_broken_configurations(golden: Golden, tmp_path: Path, file: str, old: str, new: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        yaml_description(edited(golden, tmp_path, {old: new}, file))
    assert told in str(raised.value)


def test_numbers_as_the_published_reader_takes_them(golden: Golden, tmp_path: Path) -> None:
    path = edited(golden, tmp_path, {"linear_start: 0.0015": "linear_start: 15e-4"})
    assert yaml_description(path) == yaml_description(golden.config)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing; expected one of the published YAML configurations"):
        yaml_description(tmp_path / "nowhere.yaml")


# -- vocabulary --------------------------------------------------------------------------------------------------------


@requires_real
def test_the_vocabulary_reads_as_the_published_tokenizer_does() -> None:
    from transformers import BertTokenizer

    reference = BertTokenizer(vocab=str(VOCABULARY), do_lower_case=True)
    tokenizer = word_piece_tokenizer(VOCABULARY)
    for text in ("This man has a long beard. He is in his sixties.", "Ünïcödé, déjà vu!", "antidisestablishment 42%"):
        assert tokenizer.encode(text).ids == reference(text)["input_ids"]
    assert tokenizer.decode(tokenizer.encode("a long beard").ids) == "a long beard"


def test_vocabularies_of_no_use(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    for content, told in (
        ("[PAD]\n[UNK]\n[CLS]\nword", r"it lacks \[SEP\]"),
        ("[UNK]\n[PAD]\n[CLS]\n[SEP]", r"\[PAD\] must be first"),
        ("[PAD]\n[UNK]\n[CLS]\n[SEP]\nword\nword", "every piece unique"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=told):
            word_piece_tokenizer(tmp_path)
    path.write_text("\ufeff[PAD]\n[UNK]\n[CLS]\n[SEP]\na\u2028b\n")
    assert word_piece_tokenizer(path).get_vocab_size() == 5
    with pytest.raises(InputError, match="there is no vocabulary file"):
        word_piece_tokenizer(tmp_path / "nowhere" / "vocab.txt")


@requires_real
def test_masks_are_reduced_as_published(golden: Golden) -> None:
    found = golden.pipe.collaborators["mask"].encoder.read(MASK)
    assert torch.equal(found[0].to(torch.uint8), golden.expected("mask")["label_map_32x32"])


@requires_real
def test_captions_are_padded_and_cut_as_published() -> None:
    encoder = TextModality(30522, max_tokens=77, features=8, layers=1, heads=1, head_dim=8)
    encoder.tokenizer = word_piece_tokenizer(VOCABULARY)
    ids = encoder.read("A Long BEARD.")
    assert ids.tolist() == [[101, 1037, 2146, 10154, 1012, 102, *[0] * 71]]
    with pytest.warns(InputNotice, match="cut after 77 tokens"):
        long = encoder.read("beard " * 100)
    assert long.tolist() == [[101, *[10154] * 75, 102]]


def test_a_vocabulary_of_another_size(golden: Golden, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nword")
    with pytest.raises(InputError, match=r"has 5 pieces, but the text model was trained with \d+"):
        convert(
            golden.checkpoints,
            tmp_path / "model",
            yaml_description(golden.config),
            name=golden.name,
            vocabulary=tmp_path / "vocab.txt",
        )


# -- command line ------------------------------------------------------------------------------------------------------


def test_convert_and_generate(golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    arguments = ["convert", str(golden.checkpoints), str(model), "--config", str(golden.config), "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["dtype"] == "float32"
    assert "so it takes token ids alone" in printed.err
    assert main(["generate", "--model", str(model), "--text", "a beard", "--out", str(tmp_path / "out")]) == 2
    assert "this model has no vocabulary" in capsys.readouterr().err
    if MASK.is_file():
        out = tmp_path / "out"
        assert main(["generate", "--model", str(model), "--mask", str(MASK), "--steps", "2", "--out", str(out)]) == 0
        assert list(out.glob("*.png"))


def test_convert_asks_for_one_description(golden: Golden, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["convert", str(golden.checkpoints), str(tmp_path / "model")]
    assert main(given) == 2
    assert "give --preset (celebahq-256, celebahq-512) or --config" in capsys.readouterr().err
    assert main([*given, "--preset", "celebahq-512"]) == 2
    assert "holds no 512_codiff_mask_text.ckpt" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
