import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from models import (
    MODALITIES,
    SCHEDULE,
    collaborator,
    dynamic_diffuser,
    new_pipeline,
    noise,
    raw_conditions,
    seeded,
    shared_pipeline,
    timesteps,
)
from torch import Tensor, nn

from codiff import (
    CollaborativePipeline,
    Collaborator,
    Collaborators,
    DynamicDiffuser,
    DynamicDiffusers,
    InputError,
    InputNotice,
    Mean,
)
from codiff.modalities import TextModality
from codiff.model_files import CHECKSUMS, INDEX

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared pipeline's folder; tests that change it take `copied`."""
    folder = tmp_path_factory.mktemp("models") / "model"
    shared_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """A copy to spoil, without the record of checksums, as other tools would write it."""
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    (folder / CHECKSUMS).unlink()
    return folder


def load(folder: str | Path, **kwargs: Any) -> CollaborativePipeline:
    pipe = CollaborativePipeline.from_pretrained(folder, **kwargs)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def models_of(pipe: CollaborativePipeline) -> dict[str, nn.Module]:
    return {name: getattr(pipe, name) for name in ("vae", "collaborators", "dynamic_diffusers")}


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(value, theirs[name]), name


def latents_of(pipe: CollaborativePipeline, **kwargs: Any) -> Tensor:
    images = pipe(raw_conditions(), num_inference_steps=2, generator=seeded(0), output_type="latent", **kwargs).images
    assert isinstance(images, Tensor)
    return images


class TestFolder:
    def test_layout(self, saved: Path) -> None:
        members = [f"{kind}/{m}" for kind in ("collaborators", "dynamic_diffusers") for m in MODALITIES]
        assert files_in(saved) == {
            INDEX,
            CHECKSUMS,
            "scheduler/scheduler_config.json",
            "vae/config.json",
            f"vae/{WEIGHTS}",
            "collaborators/config.json",
            "dynamic_diffusers/config.json",
            "collaborators/text/tokenizer.json",
            *(f"{member}/config.json" for member in members),
            *(f"{member}/{WEIGHTS}" for member in members),
        }

    def test_index_and_configs(self, saved: Path) -> None:
        index = json.loads((saved / INDEX).read_text())
        assert index["_class_name"] == "CollaborativePipeline"
        assert index["collaborators"] == ["codiff", "Collaborators"]
        assert index["dynamic_diffusers"] == ["codiff", "DynamicDiffusers"]
        assert index["scheduler"] == ["diffusers", "DDIMScheduler"]
        for kind in ("collaborators", "dynamic_diffusers"):
            assert json.loads((saved / kind / "config.json").read_text())["modalities"] == list(MODALITIES)

    def test_nothing_tells_where_parts_were_loaded_from(self, saved: Path, tmp_path: Path) -> None:
        pipe = CollaborativePipeline.from_pretrained(saved)
        pipe.save_pretrained(tmp_path / "again")
        for path in (tmp_path / "again").rglob("*.json"):
            assert str(saved) not in path.read_text(), path.name

    def test_every_weight_file_has_a_checksum(self, saved: Path) -> None:
        sums = json.loads((saved / CHECKSUMS).read_text())
        assert set(sums) == {name for name in files_in(saved) if name.endswith(".safetensors")}
        assert all(len(value) == 64 for value in sums.values())

    def test_pickles_are_not_written(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="safetensors alone"):
            shared_pipeline().save_pretrained(tmp_path / "model", safe_serialization=False)
        assert not any(tmp_path.iterdir())


class TestRoundTrip:
    def test_weights_and_settings(self, saved: Path) -> None:
        loaded = load(saved)
        for name, model in models_of(loaded).items():
            assert_same_weights(models_of(shared_pipeline())[name], model)
            assert not any(module.training for module in model.modules())
        assert loaded.modalities == list(MODALITIES)
        assert loaded.latent_shape == shared_pipeline().latent_shape
        assert type(loaded.scheduler) is type(shared_pipeline().scheduler)
        for name, value in shared_pipeline().scheduler.config.items():
            if not name.startswith("_"):
                assert loaded.scheduler.config[name] == value, name
        for modality in MODALITIES:
            assert loaded.collaborators[modality].config.spatial == 2 * (modality == "mask")

    def test_generated_latents_to_the_bit(self, saved: Path) -> None:
        assert torch.equal(latents_of(load(saved)), latents_of(shared_pipeline()))

    def test_pictures_to_the_byte(self, saved: Path) -> None:
        pictures = [p.decode(noise(1), "pt") for p in (shared_pipeline(), load(saved))]
        assert torch.equal(*pictures)

    def test_saving_what_was_loaded_gives_the_same_files(self, saved: Path, tmp_path: Path) -> None:
        load(saved).save_pretrained(tmp_path / "again")
        assert files_in(tmp_path / "again") == files_in(saved)
        for name in files_in(saved):
            if name.endswith((".safetensors", CHECKSUMS, "tokenizer.json")):
                assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name

    def test_the_vocabulary_comes_along(self, saved: Path) -> None:
        encoder = load(saved).collaborators["text"].encoder
        original = shared_pipeline().collaborators["text"].encoder
        assert isinstance(encoder, TextModality)
        assert torch.equal(encoder.read("a man with a long beard"), original.read("a man with a long beard"))
        assert encoder.describe(encoder.read("A MAN")) == "a man"
        with pytest.warns(InputNotice, match="never learned 'zebra'"):
            encoder.read("a zebra")

    def test_without_dynamic_diffusers(self, tmp_path: Path) -> None:
        pipe = new_pipeline(dynamic=False)
        pipe.save_pretrained(tmp_path / "model")
        assert not (tmp_path / "model" / "dynamic_diffusers").exists()
        loaded = load(tmp_path / "model")
        assert loaded.dynamic_diffusers is None
        expected = latents_of(pipe, composition=Mean(pipe.collaborators))
        assert torch.equal(latents_of(loaded, composition=Mean(loaded.collaborators)), expected)

    def test_another_scheduler(self, tmp_path: Path) -> None:
        scheduler = DPMSolverMultistepScheduler(**SCHEDULE, use_karras_sigmas=True, prediction_type="v_prediction")
        new_pipeline(["text"], scheduler=scheduler).save_pretrained(tmp_path / "model")
        loaded = load(tmp_path / "model").scheduler
        assert isinstance(loaded, DPMSolverMultistepScheduler)
        assert loaded.config.use_karras_sigmas
        assert loaded.config.prediction_type == "v_prediction"

    def test_an_encoder_under_another_name(self, tmp_path: Path) -> None:
        model = collaborator("caption", encoder_name="text")
        model.save_pretrained(tmp_path / "caption")
        loaded = Collaborator.from_pretrained(tmp_path / "caption")
        assert_same_weights(model, loaded)
        assert loaded.modality == "caption"
        assert loaded.config.encoder_name == "text"
        assert torch.equal(loaded.encode("a child"), model.encode("a child"))

    def test_members_load_alone(self, saved: Path) -> None:
        alone = Collaborator.from_pretrained(saved / "collaborators" / "text")
        assert_same_weights(shared_pipeline().collaborators["text"], alone)
        assert alone.encode("a child").shape == (1, 16, 8)
        diffuser = DynamicDiffuser.from_pretrained(saved / "dynamic_diffusers" / "mask")
        assert_same_weights(shared_pipeline().dynamic_diffusers["mask"], diffuser)

    def test_a_member_moves_into_another_model(self, saved: Path, tmp_path: Path) -> None:
        new_pipeline(["mask"], dynamic=False).save_pretrained(tmp_path / "model")
        home = tmp_path / "model" / "collaborators"
        shutil.copytree(saved / "collaborators" / "text", home / "text")
        config = json.loads((home / "config.json").read_text())
        (home / "config.json").write_text(json.dumps({**config, "modalities": ["mask", "text"]}))
        assert load(tmp_path / "model").modalities == ["mask", "text"]

    def test_model_dictionaries_alone(self, saved: Path, tmp_path: Path) -> None:
        collaborators = Collaborators.from_pretrained(saved / "collaborators")
        assert list(collaborators) == collaborators.keys() == list(MODALITIES)
        assert len(collaborators) == 3
        assert "text" in collaborators
        assert "smell" not in collaborators
        assert 3 not in collaborators
        with pytest.raises(InputError, match="no modality 'smell'; it has text, mask, sketch"):
            collaborators["smell"]
        diffusers = DynamicDiffusers.from_pretrained(saved, subfolder="dynamic_diffusers")
        diffusers.save_pretrained(tmp_path / "diffusers")
        assert_same_weights(diffusers, DynamicDiffusers.from_pretrained(tmp_path / "diffusers"))

    def test_the_random_state_is_left_alone(self, saved: Path) -> None:
        state = torch.random.get_rng_state()
        load(saved)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_a_loaded_model_outlives_its_folder(self, saved: Path, tmp_path: Path) -> None:
        shutil.copytree(saved, tmp_path / "model")
        loaded = load(tmp_path / "model")
        for path in (tmp_path / "model").rglob(WEIGHTS):
            path.write_bytes(bytes(path.stat().st_size))  # in place, under any mapping of it
        assert torch.equal(latents_of(loaded), latents_of(shared_pipeline()))


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_torch_dtype(self, saved: Path, dtype: torch.dtype) -> None:
        loaded = load(saved, torch_dtype=dtype)
        for name, model in models_of(loaded).items():
            original = models_of(shared_pipeline())[name].state_dict()
            for key, value in model.state_dict().items():
                assert value.dtype == dtype
                assert torch.equal(value, original[key].to(dtype))
        latents = latents_of(loaded)
        assert latents.dtype == dtype
        assert latents.isfinite().all()

    def test_half_precision_files(self, saved: Path, tmp_path: Path) -> None:
        half = load(saved, torch_dtype=torch.bfloat16)
        half.save_pretrained(tmp_path / "half")
        sizes = [(folder / "collaborators" / "text" / WEIGHTS).stat().st_size for folder in (saved, tmp_path / "half")]
        assert sizes[1] < 0.7 * sizes[0]
        again = load(tmp_path / "half", torch_dtype=torch.bfloat16)
        for name, model in models_of(again).items():
            assert_same_weights(models_of(half)[name], model)
        assert torch.equal(latents_of(again), latents_of(half))
        single = load(tmp_path / "half")
        assert {value.dtype for value in single.collaborators.parameters()} == {torch.float32}


def write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def truncate(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:5000])


def remove(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def reindex(**entries: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        (folder / INDEX).write_text(json.dumps({**index, **entries}))

    return change


def swap_branches(folder: Path) -> None:
    shutil.copy(folder / "dynamic_diffusers" / "text" / WEIGHTS, folder / "collaborators" / "text" / WEIGHTS)


class TestLoadingErrors:
    @pytest.mark.parametrize("name", ["nowhere", "a/b/c", "./nowhere", "~/nowhere", "no where/x"])
    def test_no_folder(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(InputError, match=r"there is no (model )?folder"):
            load(name)
        with pytest.raises(InputError, match="there is no model folder"):
            load(tmp_path / "nowhere")

    def test_a_file(self, saved: Path) -> None:
        with pytest.raises(InputError, match=r"is a file; give the folder that holds model_index\.json"):
            load(saved / INDEX)

    def test_another_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"is not a codiff model: it has no model_index\.json"):
            load(tmp_path)

    def test_a_foreign_pipeline(self, tmp_path: Path) -> None:
        index = {"_class_name": StableDiffusionPipeline.__name__, "vae": ["diffusers", "AutoencoderKL"]}
        (tmp_path / INDEX).write_text(json.dumps(index))
        with pytest.raises(InputError, match="holds a StableDiffusionPipeline, but codiff loads"):
            load(tmp_path)

    def test_a_folder_without_a_record_loads(self, copied: Path) -> None:
        assert load(copied).modalities == list(MODALITIES)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (write(INDEX, "{"), r"model_index\.json is broken"),
            (write(INDEX, "[]"), r"model_index\.json is broken"),
            (write(INDEX, "<html>Not found</html>"), r"model_index\.json is broken"),
            (write(INDEX, "version https://git-lfs.github.com/spec/v1"), r"model_index\.json is broken"),
            (write("vae/config.json", "{"), "cannot be loaded"),
            (write("vae/config.json", "[]"), "cannot be loaded"),
            (write("scheduler/scheduler_config.json", "{"), "cannot be loaded"),
            (write("collaborators/config.json", "{"), "not a folder of Collaborators"),
            (write("collaborators/config.json", "[]"), "not a folder of Collaborators"),
            (write("collaborators/config.json", '{"modalities": null}'), "not a folder of Collaborators"),
            (write("collaborators/config.json", '{"modalities": []}'), "lists no modalities"),
            (
                write("collaborators/config.json", '{"modalities": ["../../elsewhere"]}'),
                "name '../../elsewhere' cannot",
            ),
            (write("collaborators/config.json", '{"modalities": [3]}'), "name 3 cannot"),
            (write("collaborators/mask/config.json", "{}"), "mask cannot be loaded as Collaborator"),
            (write("collaborators/text/tokenizer.json", "{"), r"tokenizer\.json is not a tokenizer"),
            (truncate(f"vae/{WEIGHTS}"), "cannot be loaded"),
            (truncate(f"collaborators/sketch/{WEIGHTS}"), "sketch cannot be loaded as Collaborator"),
            (truncate(f"dynamic_diffusers/mask/{WEIGHTS}"), "mask cannot be loaded as DynamicDiffuser"),
            (write(f"vae/{WEIGHTS}", "<html>Not found</html>"), "cannot be loaded"),
            (remove(f"vae/{WEIGHTS}"), "cannot be loaded.*no file named"),
            (remove(f"collaborators/mask/{WEIGHTS}"), "mask cannot be loaded.*no file named"),
            (remove("vae"), "vae is missing"),
            (remove("scheduler"), "scheduler is missing"),
            (remove("collaborators"), "collaborators is missing"),
            (remove("dynamic_diffusers"), "dynamic_diffusers is missing"),
            (remove("collaborators/mask"), "mask is missing; copy or download the whole model again"),
            (remove("dynamic_diffusers/text"), "text is missing"),
            (remove("collaborators/text/tokenizer.json"), r"tokenizer\.json is missing"),
            (swap_branches, "text cannot be loaded as Collaborator"),
            (reindex(scheduler=["os", "system"]), r"scheduler os\.system is not one of diffusers'"),
            (reindex(scheduler=["subprocess", "DDIMScheduler"]), "is not one of diffusers'"),
            (reindex(scheduler=["diffusers", "AutoencoderKL"]), "is not one of diffusers'"),
            (reindex(scheduler=["diffusers", "SchedulerMixin"]), "is not one of diffusers'"),
            (reindex(scheduler=["diffusers", "NoSuchScheduler"]), "is not one of diffusers'"),
            (reindex(scheduler=None), "cannot be loaded"),
            (write(CHECKSUMS, "{"), r"checksums\.json is broken"),
            (write(CHECKSUMS, "[]"), r"checksums\.json is broken"),
            (write(CHECKSUMS, '{"vae/other.safetensors": "0"}'), r"other\.safetensors is missing"),
        ],
    )
    # diffusers warns of a config that is a list instead of refusing it
    @pytest.mark.filterwarnings("ignore:It is deprecated to pass a pretrained model name:FutureWarning")
    def test_a_spoilt_folder(self, change: Callable[[Path], object], message: str, copied: Path) -> None:
        change(copied)
        with pytest.raises(InputError, match=message):
            load(copied)

    def test_nothing_missing_is_looked_for_on_the_hub(self, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(copied.parent)  # "model/vae" could be a repository's name
        for part in ("collaborators/mask", "collaborators", "vae"):
            shutil.rmtree(copied / part)
            with pytest.raises(InputError, match=f"^model/{part} is missing"):
                load("model")

    @pytest.mark.parametrize("member", ["vae", "collaborators/text", "dynamic_diffusers/sketch"])
    def test_a_flipped_bit(self, member: str, saved: Path, tmp_path: Path) -> None:
        shutil.copytree(saved, tmp_path / "model")
        path = tmp_path / "model" / member / WEIGHTS
        content = bytearray(path.read_bytes())
        content[-1000] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"is damaged .*SHA-256.*; download the model again"):
            load(tmp_path / "model")
        (tmp_path / "model" / CHECKSUMS).unlink()
        load(tmp_path / "model")  # which is why there is a record: safetensors alone do not notice

    def test_a_truncated_file_with_a_record(self, saved: Path, tmp_path: Path) -> None:
        shutil.copytree(saved, tmp_path / "model")
        truncate(f"vae/{WEIGHTS}")(tmp_path / "model")
        with pytest.raises(InputError, match="is damaged"):
            load(tmp_path / "model")

    def test_the_demo_that_is_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("codiff.model_files.files", lambda _: tmp_path)
        with pytest.raises(InputError, match="demo model is missing from this installation"):
            load("demo")


class TestHub:
    HASH = "0123456789" * 4

    def test_an_id_that_cannot_be_downloaded(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no folder 'some-one/some-model', and it cannot be downloaded"):
            load("some-one/some-model", local_files_only=True, cache_dir=tmp_path)

    def test_arguments_are_passed_through(self, saved: Path, tmp_path: Path) -> None:
        repository = tmp_path / "models--some-one--some-model"
        shutil.copytree(saved, repository / "snapshots" / self.HASH)
        (repository / "refs").mkdir()
        (repository / "refs" / "v2").write_text(self.HASH)
        loaded = load("some-one/some-model", local_files_only=True, cache_dir=tmp_path, revision="v2")
        assert torch.equal(latents_of(loaded), latents_of(shared_pipeline()))
        with pytest.raises(InputError, match="cannot be downloaded"):
            load("some-one/some-model", local_files_only=True, cache_dir=tmp_path, revision="v3")


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Writing more bytes than these into a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestSavingErrors:
    def test_a_full_disk_leaves_nothing(self, tmp_path: Path) -> None:
        with files_limited_to(120_000), pytest.raises(InputError, match=r"cannot write .*model: .*Make room"):
            shared_pipeline().save_pretrained(tmp_path / "model")  # the autoencoder fits, the collaborators do not
        assert not any(tmp_path.iterdir())

    def test_a_full_disk_leaves_the_old_model(self, saved: Path, tmp_path: Path) -> None:
        shutil.copytree(saved, tmp_path / "model")
        with files_limited_to(120_000), pytest.raises(InputError, match="Make room"):
            new_pipeline(["text"]).save_pretrained(tmp_path / "model")
        assert names_in(tmp_path) == ["model"]
        assert torch.equal(latents_of(load(tmp_path / "model")), latents_of(shared_pipeline()))

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_an_interruption_leaves_nothing(
        self, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def save_assets(*_: object) -> None:
            raise error

        monkeypatch.setattr(TextModality, "save_assets", save_assets)
        with pytest.raises(error):
            shared_pipeline().save_pretrained(tmp_path / "model")
        assert not any(tmp_path.iterdir())

    def test_a_model_is_replaced_whole(self, saved: Path, tmp_path: Path) -> None:
        shutil.copytree(saved, tmp_path / "model")
        new_pipeline(["text"], dynamic=False).save_pretrained(tmp_path / "model")
        assert names_in(tmp_path) == ["model"]
        assert not any("mask" in name or "dynamic" in name for name in files_in(tmp_path / "model"))
        assert load(tmp_path / "model").modalities == ["text"]

    def test_other_folders_are_not_replaced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
        with pytest.raises(InputError, match="holds something else than a model"):
            shared_pipeline().save_pretrained(tmp_path / "thesis")
        monkeypatch.chdir(tmp_path / "thesis")
        for name in (".", ".."):
            with pytest.raises(InputError, match="working directory"):
                shared_pipeline().save_pretrained(name)
        assert files_in(tmp_path) == {"thesis/chapter1.txt"}

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        for name in ("file", "file/model"):
            with pytest.raises(InputError, match="cannot write"):
                shared_pipeline().save_pretrained(tmp_path / name)
        assert files_in(tmp_path) == {"file"}
        assert (tmp_path / "file").read_text() == "mine"

    def test_through_a_link(self, saved: Path, tmp_path: Path) -> None:
        shutil.copytree(saved, tmp_path / "real")
        (tmp_path / "link").symlink_to("real")
        new_pipeline(["text"], dynamic=False).save_pretrained(tmp_path / "link")
        assert names_in(tmp_path) == ["link", "real"]
        assert (tmp_path / "link").is_symlink()
        assert load(tmp_path / "real").modalities == ["text"]


class TestNames:
    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a.b", "a b", "a\0", "keys", "type", "training"])
    def test_unusable_names(self, name: str) -> None:
        with pytest.raises(InputError, match="cannot be used"):
            DynamicDiffusers.of({name: dynamic_diffuser()})

    def test_a_collaborator_of_another_modality(self) -> None:
        with pytest.raises(InputError, match="of 'text' cannot stand for 'caption'"):
            Collaborators.of({"caption": collaborator("text")})

    def test_dynamic_diffusers_predict_one_logit(self, saved: Path) -> None:
        config = json.loads((saved / "collaborators" / "text" / "config.json").read_text())
        with pytest.raises(ValueError, match="out_channels = 1"):
            DynamicDiffuser(config["unet_config"])
        logits = shared_pipeline().dynamic_diffusers["text"](noise(2), timesteps(1, 9), torch.zeros(2, 3, 8))
        assert logits.shape == (2, 1, 4, 4)
