"""The benchmark on tiny models: fair, resumable, and the same numbers whoever made the pictures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import PartialState
from celeba import write_raw
from diffusers import DDPMScheduler
from models import new_pipeline
from PIL import Image

from codiff import AttributeClassifier, Collaborative, FaceParser, denoising_loss
from codiff.composition import RULES, Mean
from codiff.data.face_attributes import AGES, BEARDS
from codiff.data.faces import ProceduralFaces
from codiff.errors import InputError
from codiff.evaluation.benchmark import Benchmark
from codiff.evaluation.benchmark_data import Case, Cases, open_data
from codiff.evaluation.external import evaluate_images
from codiff.evaluation.features import parser_features
from codiff.evaluation.folders import Folders
from codiff.evaluation.generation import Generator, picture_path, read_picture
from codiff.evaluation.judges import Judges
from codiff.evaluation.loss_by_timestep import SEED, losses, timesteps_of
from codiff.evaluation.mask_accuracy import mask_accuracy
from codiff.evaluation.methods import Method, digest, methods_of, simplex
from codiff.evaluation.protocols import Protocol, protocol_named
from codiff.evaluation.running import Request, open_benchmark, run_benchmark
from codiff.evaluation.tuning import Tuning
from codiff.pixels import from_uint8
from codiff.png_metadata import read_metadata

SIZE, COUNT = 32, 8
MODALITIES = ("mask", "sketch")
METRICS = ("mask", "miou", "beard", "age", "caption", "sum", "frechet", "kernel", "diversity")
TINY = Protocol("tiny", "faces", COUNT, "validation", 2, 0.0, METRICS, diversity=2)
METHODS = ("mask-alone", "mean", "weighted", "collaborative", "no-spatial")


def judges() -> Judges:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parser = FaceParser(channels=(8, 8, 8)).eval()
        classifier = AttributeClassifier({"beard": BEARDS, "age": AGES}, channels=(8, 8, 8)).eval()
    return Judges(parser, classifier, None, parser_features(parser))


def cases(count: int = 4) -> Cases:
    return Cases(ProceduralFaces("validation", SIZE), count)


def opened(folder: Path) -> Benchmark:
    request = Request(TINY, METHODS, Tuning(2, (1.0, 2.0), 2), batch=4, losses=2)
    return open_benchmark(new_pipeline(MODALITIES), judges(), request, folder, PartialState(cpu=True))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole evaluation."""
    folder = tmp_path_factory.mktemp("evaluation") / "report"
    run_benchmark(opened(folder), "weights")
    return folder


def numbers(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


# -- protocols, methods, tuning ----------------------------------------------------------------------------------------


def test_smaller_runs_say_so() -> None:
    whole = protocol_named("demo-3000")
    assert whole.smaller(None, None) is whole
    part = whole.smaller(20, 5)
    assert (part.name, part.part_of) == ("demo-3000 (first 20, 5 steps)", "demo-3000")
    assert (part.conditions, part.steps, part.diversity) == (20, 5, 2)
    for count in (7, 3001, 0):
        with pytest.raises(InputError, match="take 8 to 3000 of them"):
            whole.smaller(count, None)
    with pytest.raises(InputError, match="steps must be 1 or more"):
        whole.smaller(None, 0)
    with pytest.raises(InputError, match="unknown protocol 'demo'; known: paper-50"):
        protocol_named("demo")


def test_every_rule_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "new", lambda collaborators, _: Mean(collaborators))
    found, left_out = methods_of(new_pipeline(MODALITIES), cases()[0])
    names = [method.name for method in found]
    assert names[:4] == ["mask-alone", "sketch-alone", "mean", "weighted"]
    assert set(names) | set(left_out) == {"mask-alone", "sketch-alone", "weighted", *RULES}
    assert "new" in names
    assert "trained with softmax" in left_out["additive"]


def test_methods_that_a_model_cannot_do() -> None:
    bare = new_pipeline(MODALITIES, dynamic=False)
    bare.register_to_config(condition_dropout=False)
    found, left_out = methods_of(bare, cases()[0])
    assert [method.name for method in found] == ["mask-alone", "sketch-alone", "mean", "weighted"]
    assert "no dynamic diffusers" in left_out["collaborative"]
    assert "without condition dropout" in left_out["guidance-sum"]
    with pytest.raises(InputError, match="'collaborative' cannot be measured: this model has no dynamic diffusers"):
        methods_of(bare, cases()[0], ["mean", "collaborative"])
    with pytest.raises(InputError, match="unknown method 'median'; this model has mask-alone"):
        methods_of(bare, cases()[0], ["median"])
    assert [method.name for method in methods_of(new_pipeline(["mask"]), cases()[0])[0]] == ["mask-alone"]


def test_data_that_lack_a_modality() -> None:
    with pytest.raises(InputError, match="the data have no sketch; they have mask"):
        methods_of(new_pipeline(MODALITIES), Case("0", {"mask": cases()[0].mask}), ["sketch-alone"])


def test_simplex_has_all_mixtures_and_no_single_model() -> None:
    grid = simplex(("a", "b", "c"), 4)
    assert len(grid) == 15 - 3
    assert all(sum(dict(weights).values()) == 1 for weights in grid)
    assert simplex(("a", "b"), 2) == [(("a", 0.5), ("b", 0.5))]


def test_tuning_cases_are_not_measured_on() -> None:
    data = open_data(protocol_named("demo-3000"), SIZE, 96)
    measured, tuned = data.cases.examples, data.tuning.examples
    assert isinstance(measured, ProceduralFaces)
    assert isinstance(tuned, ProceduralFaces)
    assert {*measured.indices[: len(data.cases)]} == {*range(27_000, 30_000)}
    assert {*tuned.indices[: len(data.tuning)]} == {*range(30_000, 30_096)}
    assert data.training is not None
    assert data.held_out is not None
    assert (data.reference.count, data.training.count, data.held_out.count) == (3000, 27_000, 3000)
    with pytest.raises(InputError, match="tuning takes 1 to 3000 faces"):
        open_data(protocol_named("demo-3000"), SIZE, 0)


@pytest.mark.parametrize("kwargs", [{"cases": 0}, {"scales": ()}, {"parts": 1}, {"scales": (float("nan"),)}])
def test_searches_that_cannot_be(kwargs: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Tuning(**kwargs)


# -- judges ------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_metrics() -> None:
    judge, faces = judges(), cases().of(range(4))
    images = from_uint8(np.stack([face.picture for face in faces]))
    found = judge.scores(images, faces)
    assert judge.parser is not None
    masks = torch.from_numpy(np.stack([face.mask for face in faces if face.mask is not None])).long()
    assert torch.allclose(found["mask"], mask_accuracy(judge.parser, images, masks))
    assert torch.equal(found["caption"], (found["beard"] + found["age"]) / 2)
    assert torch.equal(found["sum"], found["mask"] + found["caption"])
    order = [2, 0, 3, 1]
    turned = judge.scores(images[order], [faces[item] for item in order])
    assert torch.allclose(turned["mask"], found["mask"][order])


def test_judges_refuse_before_anything_is_made() -> None:
    few = Judges(FaceParser(classes=5, channels=(8, 8, 8)).eval())
    with pytest.raises(InputError, match="the parser knows 5 classes, the masks have 19"):
        few.check([cases()[0]])
    with pytest.raises(InputError, match="there is no mask of b, but of others there is"):
        judges().check([cases()[0], Case("b")])
    with pytest.raises(
        InputError, match="nowhere has no face_parser and no attribute_classifier, which judge drawn faces"
    ):
        Judges.shipped(Path("nowhere"))


# -- losses ------------------------------------------------------------------------------------------------------------


def test_losses_are_those_of_training() -> None:
    pipe, faces = new_pipeline(MODALITIES), cases(2).of(range(2))
    methods = methods_of(pipe, faces[0], ["mask-alone", "mean", "weighted", "collaborative"])[0]
    timesteps = [900, 100]
    found = losses(pipe, methods, faces, [SEED, SEED + 1], timesteps)
    assert {name: tuple(value.shape) for name, value in found.items()} == dict.fromkeys(
        ("mask-alone", "mean", "weighted", "collaborative"), (2, 2)
    )
    assert torch.equal(found["mean"], found["weighted"])  # equal weights
    assert not torch.allclose(found["mean"], found["collaborative"])
    with torch.no_grad():
        pictures = from_uint8(np.stack([face.picture for face in faces]))
        latents = pipe.vae.encode(pictures).latent_dist.mean * pipe.vae.config.scaling_factor
        tokens = pipe.collaborators.encode({m: [face.conditions[m] for face in faces] for m in MODALITIES})
        draws = [torch.Generator().manual_seed((SEED + row) * 12 + 1) for row in range(2)]
        noise = torch.stack([torch.randn(latents.shape[1:], generator=draw) for draw in draws])
        rule = Collaborative(pipe.collaborators, pipe.dynamic_diffusers)
        schedule = DDPMScheduler.from_config(pipe.scheduler.config)
        plain = denoising_loss(rule, schedule, latents, tokens, noise, torch.full((2,), 100))
    assert torch.allclose(found["collaborative"][:, 1], plain, rtol=1e-5)


def test_timesteps_fit_other_schedules() -> None:
    scheduler = type("S", (), {"config": type("C", (), {"num_train_timesteps": 100})})
    assert timesteps_of(scheduler)[:3] == [98, 95, 90]


# -- a whole evaluation ------------------------------------------------------------------------------------------------


def test_report_has_all_parts(report: Path) -> None:
    found = numbers(report)
    assert list(found["results"]) == list(METHODS)
    assert set(found["results"]["mean"]) == {*METRICS}
    assert found["lead"] == "collaborative"
    assert set(found["differences"]["collaborative"]) == {*METHODS} - {"collaborative"}
    assert found["methods"]["weighted"]["guidance"] in (1.0, 2.0)
    assert {len(found["tuning"][name]) for name in ("mean", "collaborative")} == {2}
    assert len(found["losses"]["timesteps"]) == 12
    assert list(found["influences"]) == ["collaborative", "no-spatial"]
    assert {claim["claim"].split(" in ")[0] for claim in found["verdicts"]} >= {"collaborative beats mask-alone"}
    text = (report / "report.md").read_text()
    for heading in ("Results", "Paired differences", "Influences", "Loss by timestep", "Failure cases", "Settings"):
        assert f"## {heading}" in text
    for path in re.findall(r"\]\((figures/.+?)\)", text):
        with Image.open(report / path) as picture:
            assert min(picture.size) > 100


def test_page_holds_everything(report: Path) -> None:
    page = (report / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="(.{5})', page)
    assert len([source for source in sources if source == "data:"]) == 7
    assert all(source == "data:" or source.startswith("#part") for source in sources)
    assert len(page) < 5_000_000


def test_pictures_are_the_pipelines_own(report: Path) -> None:
    found = numbers(report)["methods"]["collaborative"]
    pipe = new_pipeline(MODALITIES)
    method = Method("collaborative", "collaborative", MODALITIES, found["guidance"])
    made = Generator(pipe, TINY.steps)(method, cases(COUNT).of(range(4, 8)), range(4, 8)).pictures
    saved = np.stack([np.asarray(read_picture(report, "collaborative", item)) for item in range(4, 8)])
    assert np.array_equal(made, saved)
    told = read_metadata(picture_path(report, "collaborative", 5))
    assert (told["seed"], told["method"]["name"]) == (5, "collaborative")


def test_a_killed_evaluation_ends_with_the_same_numbers(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(report, folder)
    for kind in ("pictures", "tuning", "losses"):
        for home in sorted((folder / "work" / kind).iterdir())[::2]:
            sorted(home.iterdir())[-1].unlink()
    (folder / "images" / "mean" / "00005.png").unlink()
    for name in ("report.json", "report.md", "report.html"):
        (folder / name).unlink()
    run_benchmark(opened(folder), "weights")
    assert (folder / "report.json").read_bytes() == (report / "report.json").read_bytes()
    assert (folder / "images" / "mean" / "00005.png").read_bytes() == (
        report / "images" / "mean" / "00005.png"
    ).read_bytes()


def test_another_model_is_refused_before_anything_is_made(report: Path) -> None:
    before = sorted(report.rglob("*"))
    with pytest.raises(InputError, match=r"other settings \(model: weights -> others\)"):
        run_benchmark(opened(report), "others")
    assert sorted(report.rglob("*")) == before


def test_the_same_pictures_have_the_same_numbers_as_files(report: Path, tmp_path: Path) -> None:
    faces = cases(COUNT)
    for name in ("masks", "real"):
        (tmp_path / name).mkdir()
    for item in range(COUNT):
        Image.fromarray(np.asarray(faces[item].mask)).save(tmp_path / "masks" / f"{item:05d}.png")
    reference = ProceduralFaces("validation", SIZE)
    for item in range(60):
        Image.fromarray(reference[item].image).save(tmp_path / "real" / f"{item:05d}.png")
    (tmp_path / "labels.json").write_text(json.dumps({f"{item:05d}.png": faces[item].labels for item in range(COUNT)}))
    folders = Folders(
        report / "images" / "mean", tmp_path / "real", tmp_path / "masks", labels=tmp_path / "labels.json"
    )
    page = evaluate_images(folders, judges(), tmp_path / "out")
    found, expected = numbers(page.parent), numbers(report)["results"]["mean"]
    assert found["results"]["mean"] == {name: expected[name] for name in METRICS if name != "diversity"}
    assert set(found["left_out"]) == {"CLIP score", "diversity"}
    assert "CLIP model (--clip) and captions (--captions)" in found["left_out"]["CLIP score"]


def test_photographs_are_measured_like_drawn_faces(tmp_path: Path) -> None:
    data = write_raw(tmp_path / "celeba", range(72))
    protocol = Protocol("photographs", "celeba-hq", COUNT, "all", 1, 1.0, ("mask", "text", "frechet"))
    request = Request(protocol, ["mean", "mask-alone"], Tuning(2, (1.0,), 2), batch=4, losses=0, data=data)
    benchmark = open_benchmark(new_pipeline(MODALITIES), judges(), request, tmp_path / "out", PartialState(cpu=True))
    assert (benchmark.data.reference.count, len(benchmark.data.tuning)) == (72, 2)
    shown = benchmark.data.reference.read(range(63, 65))  # across the border of the splits
    assert np.array_equal(shown[1], benchmark.data.cases[0].picture)
    run_benchmark(benchmark, "weights")
    found = numbers(tmp_path / "out")
    assert found["settings"]["eta"] == 1.0
    assert set(found["results"]["mean"]) >= {"mask", "frechet"}
    assert found["left_out"]["CLIP score"] == "needs a CLIP model (--clip) and captions (--captions)"
    with pytest.raises(InputError, match="give its folder by --data"):
        open_data(protocol, SIZE, 2)
    with pytest.raises(InputError, match=r"has 8 validation images, paper-50 takes 50; --faces takes fewer"):
        open_data(protocol_named("paper-50"), SIZE, 2, data)


def test_methods_are_told_apart_by_their_settings() -> None:
    plain = Method("mean", "mean", MODALITIES)
    assert digest(plain) != digest(Method("mean", "mean", MODALITIES, 2.0))
    assert digest(plain) == digest(Method("mean", "mean", MODALITIES, 1.0))
