import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from codiff.data import face_attributes, faces
from codiff.data.face_attributes import AGES, BEARDS, GENDERS, HAIR_STYLES, Description, Face, sample_face
from codiff.data.face_captions import caption, describe
from codiff.data.face_renderer import render
from codiff.data.faces import ProceduralFaces
from codiff.errors import InputError
from codiff.modalities.mask import MASK_CLASSES
from codiff.training.data import DataSettings, open_faces

LAYOUT = Path(__file__).parents[2].parent / "shared" / "reference" / "celebamask_layout.json"
SHEETS = ("image", "mask", "sketch")
DRAWN = 300


@pytest.fixture(scope="module")
def drawn() -> dict[str, NDArray[np.uint8]]:
    """The first faces at 128 pixels: sheets stacked by name."""
    rendered = [render(sample_face(index), 128) for index in range(DRAWN)]
    return {name: np.stack([getattr(sheets, name) for sheets in rendered]) for name in SHEETS}


# -- layout ------------------------------------------------------------------------------------------------------------


def extents(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Centre and size of a class, as shares of the side."""
    rows, columns = np.nonzero(mask)
    side = len(mask)
    return (
        (columns.mean() + 0.5) / side,
        (rows.mean() + 0.5) / side,
        (np.ptp(columns) + 1) / side,
        (np.ptp(rows) + 1) / side,
    )


@pytest.mark.skipif(not LAYOUT.exists(), reason=f"needs {LAYOUT}")
@pytest.mark.parametrize("name", MASK_CLASSES)
def test_layout_is_that_of_real_masks(drawn: dict[str, NDArray[np.uint8]], name: str) -> None:
    real = json.loads(LAYOUT.read_text())["classes"][name]
    assert real["index"] == MASK_CLASSES.index(name)
    masks = [mask == real["index"] for mask in drawn["mask"]]
    seen = np.array([extents(mask) for mask in masks if mask.sum() >= 4])
    frequency = len(seen) / len(masks)
    assert frequency >= real["present"] / 2
    assert frequency <= 2 * real["present"] or name in ("eyeglass", "hat", "earring")
    for measure, median in zip(("centre_x", "centre_y", "width", "height"), np.median(seen, axis=0), strict=True):
        low, _, high = real[measure]
        assert low <= median <= high, measure


def test_eyes_stand_where_they_stand_in_aligned_crops(drawn: dict[str, NDArray[np.uint8]]) -> None:
    for name, wanted in (("right_eye", 0.375), ("left_eye", 0.617)):
        masks = [mask == MASK_CLASSES.index(name) for mask in drawn["mask"]]
        x, y, _, _ = np.median([extents(mask) for mask in masks if mask.any()], axis=0)
        assert (x, y) == pytest.approx((wanted, 0.474), abs=0.005)


# -- what each sheet may tell ------------------------------------------------------------------------------------------


def first_with(style: str) -> Face:
    return next(face for face in map(sample_face, range(1000)) if face.layout.hair_style == style)


def shape(face: Face) -> tuple[bytes, bytes]:
    sheets = render(face, 64)
    return sheets.mask.tobytes(), sheets.sketch.tobytes()


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_mask_and_sketch_tell_nothing_of_the_caption(style: str) -> None:
    face = first_with(style)
    told = [Description(age, "none", gender) for age, gender in product(AGES, GENDERS)]
    told += [Description("fifties", beard, "man") for beard in BEARDS]
    assert len({shape(replace(face, description=description)) for description in told}) == 1


def test_no_combination_shows_in_the_mask() -> None:
    face = first_with("short")
    every = [Description(*told) for told in product(AGES, BEARDS, GENDERS)]
    assert len({shape(replace(face, description=description)) for description in every}) == 1


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_mask_and_sketch_tell_nothing_of_colours_and_light(style: str) -> None:
    face = first_with(style)
    identities = [sample_face(index).identity for index in range(12)]
    assert len({shape(replace(face, identity=identity)) for identity in identities}) == 1


@pytest.mark.parametrize("beard", BEARDS[1:])
def test_beards_are_drawn_on_skin(beard: str) -> None:
    face = first_with("short")
    bare, hairy = (render(replace(face, description=Description("fifties", b, "man")), 128) for b in ("none", beard))
    changed = np.abs(bare.image.astype(int) - hairy.image).max(axis=2) > 24
    changed[:77] = False  # strands of hair take other random numbers then
    labels = Counter(MASK_CLASSES[label] for label in hairy.mask[changed])
    assert changed.sum() > 30
    assert labels["skin"] + labels["neck"] + labels["cloth"] > 0.95 * changed.sum()  # some hang below the chin
    assert labels["skin"] > (0.3 if beard == "long" else 0.7) * changed.sum()
    assert not labels["hair"]


def test_only_the_classes_that_there_are(drawn: dict[str, NDArray[np.uint8]]) -> None:
    assert np.unique(drawn["mask"]).tolist() == list(range(len(MASK_CLASSES)))


def test_sketches_are_dark_lines_on_white(drawn: dict[str, NDArray[np.uint8]]) -> None:
    sketches = drawn["sketch"]
    assert sketches.shape == (DRAWN, 128, 128)
    assert (sketches == 255).mean(axis=(1, 2)).min() > 0.75
    dark = (sketches < 128).mean(axis=(1, 2))
    assert dark.min() > 0.03
    assert dark.max() < 0.12
    assert sketches.min(axis=(1, 2)).max() < 40


def test_lines_run_along_the_borders_of_the_mask(drawn: dict[str, NDArray[np.uint8]]) -> None:
    for mask, sketch in zip(drawn["mask"][:20], drawn["sketch"], strict=False):
        border = np.zeros_like(mask, dtype=bool)
        border[:-1] |= mask[:-1] != mask[1:]
        border[:, :-1] |= mask[:, :-1] != mask[:, 1:]
        near = border.copy()
        for shift, axis in product((-2, -1, 1, 2), (0, 1)):
            near |= np.roll(border, shift, axis)
        lines = sketch < 128
        assert near[lines].mean() > 0.7
        assert (sketch[border] < 200).mean() > 0.6


# -- captions ----------------------------------------------------------------------------------------------------------

COLOURS = (
    "black blond blonde blue brown colour coloured dark golden gray green grey pale pink purple red tanned white yellow"
)
LAYOUT_WORDS = (
    "bald bangs beanie cap coat collar curly earring earrings ears eyebrows eyeglasses eyes fringe glasses grin hair "
    "haired hairstyle hat lips mouth necklace nose ponytail shirt smile smiles smiling spectacles straight wavy"
)
FORBIDDEN = {*COLOURS.split(" "), *LAYOUT_WORDS.split(" ")}


def words(sentence: str) -> set[str]:
    return set(re.findall(r"[a-z]+", sentence.lower()))


@pytest.fixture(scope="module")
def vocabulary() -> set[str]:
    """The words of the captions that a model learns from."""
    return set().union(*(words(caption(sample_face(index), variant)) for index in range(1500) for variant in range(4)))


@pytest.mark.parametrize(("age", "beard", "gender"), list(product(AGES, BEARDS, GENDERS)))
def test_captions_are_many_and_keep_to_their_subject(vocabulary: set[str], age: str, beard: str, gender: str) -> None:
    said = {describe(Description(age, beard, gender), random.Random(seed)) for seed in range(60)}
    assert len(said) >= 8
    assert not words(" ".join(said)) & FORBIDDEN
    assert words(" ".join(said)) <= vocabulary
    for sentence in said:
        assert re.fullmatch(r"[A-Z][a-z ,.]*[A-Za-z ,.]*\.", sentence)
        assert "  " not in sentence


def test_captions_tell_age_beard_and_gender_apart() -> None:
    meant: dict[str, Description] = {}
    for told in product(AGES, BEARDS, GENDERS):
        for seed in range(80):
            description = Description(*told)
            sentence = describe(description, random.Random(seed))
            assert meant.setdefault(sentence, description) == description


def test_captions_of_a_face() -> None:
    face = sample_face(3)
    assert caption(face) == caption(face, 0) == ProceduralFaces("train", 32)[3].caption
    assert len({caption(face, variant) for variant in range(20)}) > 10


# -- determinism -------------------------------------------------------------------------------------------------------

PIXELS = {
    (64, 0): "96effc93bac1-6e566bf4fe71-5ef04903ad29",
    (64, 5): "c0859e164f08-8ec7a9990995-2f8651cae6e7",
    (64, 12): "42cf50da5ae7-585769b35815-f9312cbf5100",
    (64, 27000): "98170e0e04ff-d2f455f04914-39b4944da0c5",
    (128, 0): "5173861a0592-e584cfe18906-03af8d2ab233",
    (128, 5): "88084056d859-ce5fffff0747-c7680c84042c",
    (128, 12): "8c8b388e6c99-fb8d63a73e44-f1889d3c2108",
    (128, 27000): "e724096e77aa-a099011f6df9-f22cd6f7479e",
}
"""Beginnings of the SHA-256 of picture, mask and sketch of some faces, by size and index."""
CAPTIONS = {
    0: "He is a small child. He has no beard.",
    5: "She is in her thirties. She has a clean shaven face.",
    12: "The guy in the picture has a beard of medium length. He is in his sixties.",
    27000: "The man we see here is in his sixties and wears a beard that is really long.",
}


def digests(size: int, index: int) -> str:
    sheets = render(sample_face(index), size)
    return "-".join(hashlib.sha256(getattr(sheets, name).tobytes()).hexdigest()[:12] for name in SHEETS)


@pytest.mark.parametrize(("size", "index"), list(PIXELS))
def test_pixels_never_change(size: int, index: int) -> None:
    assert digests(size, index) == PIXELS[size, index]


@pytest.mark.parametrize("index", list(CAPTIONS))
def test_captions_never_change(index: int) -> None:
    assert caption(sample_face(index)) == CAPTIONS[index]


def test_another_process_draws_the_same() -> None:
    code = (
        "import hashlib; from codiff.data.face_attributes import sample_face as s; "
        "from codiff.data.face_captions import caption; from codiff.data.face_renderer import render; "
        "d = render(s(12), 64); "
        "print('-'.join(hashlib.sha256(x.tobytes()).hexdigest()[:12] for x in (d.image, d.mask, d.sketch))); "
        "print(caption(s(12)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == [PIXELS[64, 12], CAPTIONS[12]]


def test_faces_differ(drawn: dict[str, NDArray[np.uint8]]) -> None:
    for name in SHEETS:
        assert len({sheet.tobytes() for sheet in drawn[name]}) == DRAWN
    assert sample_face(4) != sample_face(5)
    assert sample_face(4) == sample_face(4)
    assert sample_face(4, seed=1) != sample_face(4)


@pytest.mark.parametrize("size", [32, 50, 193])
def test_any_size(size: int) -> None:
    sheets = render(sample_face(1), size)
    assert sheets.image.shape == (size, size, 3)
    assert sheets.mask.shape == sheets.sketch.shape == (size, size)
    assert sheets.image.dtype == sheets.mask.dtype == sheets.sketch.dtype == np.uint8


def test_sizes_agree() -> None:
    large, small = render(sample_face(2), 256), render(sample_face(2), 64)
    reduced = large.image.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(reduced - small.image).mean() < 8
    assert (large.mask[2::4, 2::4] == small.mask).mean() > 0.95


# -- attributes --------------------------------------------------------------------------------------------------------


def balanced(found: list[str], wanted: Mapping[str, float]) -> bool:
    counts, total = Counter(found), sum(wanted.values())
    assert counts.keys() <= wanted.keys()
    shares = {name: weight / total for name, weight in wanted.items()}
    return all(
        abs(counts[name] / len(found) - share) < 4 * (share * (1 - share) / len(found)) ** 0.5
        for name, share in shares.items()
    )


def test_attributes_are_drawn_in_their_shares() -> None:
    sampled = [sample_face(index) for index in range(4000)]
    told, layouts = [face.description for face in sampled], [face.layout for face in sampled]
    assert balanced([one.age for one in told], dict(zip(AGES, face_attributes._AGE_WEIGHTS, strict=True)))
    assert balanced([one.gender for one in told], {"man": 0.62, "woman": 0.38})
    bearded = [one.beard for one in told if one.gender == "man" and one.age != "child"]
    assert balanced(bearded, dict(zip(BEARDS, face_attributes._BEARD_WEIGHTS, strict=True)))
    assert {one.beard for one in told if one.gender == "woman" or one.age == "child"} == {"none"}
    styles = dict(zip(HAIR_STYLES, face_attributes._HAIR_STYLE_WEIGHTS, strict=True))
    for gender in GENDERS:  # layout and text are drawn apart
        assert balanced([face.layout.hair_style for face in sampled if face.description.gender == gender], styles)
    assert balanced([one.glasses for one in layouts], {"none": 0.78, "round": 0.11, "square": 0.11})
    assert balanced([one.hat for one in layouts], {"none": 0.88, "beanie": 0.04, "brim": 0.04, "cap": 0.04})
    yaws = [one.yaw for one in layouts]
    assert -1 <= min(yaws) < -0.9 < 0.9 < max(yaws) <= 1
    assert abs(np.mean(yaws)) < 0.05


def test_negative_numbers_are_no_faces() -> None:
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        sample_face(-1)


# -- data set ----------------------------------------------------------------------------------------------------------


def test_splits() -> None:
    train, validation, tuning = (ProceduralFaces(split) for split in ("train", "validation", "tuning"))
    assert (len(train), len(validation), len(tuning)) == (27_000, 3_000, 3_000)
    assert len({*train.indices, *validation.indices, *tuning.indices}) == 33_000
    assert train.face(26_999) == sample_face(26_999)
    assert validation.face(0) == sample_face(27_000)
    assert validation[0].caption == CAPTIONS[27_000]


def test_an_example() -> None:
    example = ProceduralFaces("train", 32)[5]
    assert example.conditions == {"text": example.caption, "mask": example.mask, "sketch": example.sketch}
    alternatives = example.alternatives
    assert alternatives.keys() == example.conditions.keys()
    assert alternatives["text"] == [caption(example.face, variant) for variant in range(4)]
    assert alternatives["mask"] == [example.mask]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: render(sample_face(0), 31), "32 pixels or more, not 31"),
        (lambda: ProceduralFaces("train", 31), "32 pixels or more, not 31"),
        (lambda: ProceduralFaces("train", -1), "32 pixels or more, not -1"),
        (lambda: ProceduralFaces("test"), "unknown split 'test'; expected one of train, validation"),
        (lambda: ProceduralFaces("train", limit=0), "at least one face, not 0"),
    ],
)
def test_wrong_sizes_and_splits(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()


@pytest.mark.parametrize("item", [-1, 3, 10**9])
def test_items_that_do_not_exist(item: int) -> None:
    with pytest.raises(IndexError):
        ProceduralFaces("train", 32, limit=3)[item]


def test_the_cache_holds_what_is_drawn_on_the_fly(tmp_path: Path) -> None:
    fly = ProceduralFaces("validation", 32, limit=5)
    cached = fly.cached(tmp_path / "new", processes=2)
    assert len(cached) == 5
    for one, other in zip(fly, cached, strict=True):
        for name in SHEETS:
            assert np.array_equal(getattr(one, name), getattr(other, name))
        assert (one.caption, one.face) == (other.caption, other.face)
    assert cached.array("image").shape == (5, 32, 32, 3)
    assert cached.fingerprint == fly.fingerprint
    with pytest.raises(ValueError, match="call cached"):
        fly.array("image")


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def refuse(*_: Any) -> None:
    raise AssertionError("drawn again")


def test_the_cache_is_read_and_never_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings(size=32, cache=str(tmp_path), limit=4)
    first = open_faces(settings, "train")
    monkeypatch.setattr(ProceduralFaces, "_fill", refuse)
    assert np.array_equal(open_faces(settings, "train").array("mask"), first.array("mask"))
    for changed in ({"size": 33}, {"limit": 3}):
        with pytest.raises(AssertionError, match="drawn again"):
            open_faces(settings.model_copy(update=changed), "train")
    with pytest.raises(AssertionError, match="drawn again"):
        open_faces(settings, "validation")
    monkeypatch.setattr(faces, "render", lambda face, size: inverted(face, size))
    with pytest.raises(AssertionError, match="drawn again"):
        open_faces(settings, "train")


def inverted(face: Face, size: int) -> Any:
    sheets = render(face, size)
    return replace(sheets, image=255 - sheets.image)


def test_another_renderer_gets_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ProceduralFaces("train", 32, limit=3).cached(tmp_path)
    monkeypatch.setattr(faces, "render", inverted)
    second = ProceduralFaces("train", 32, limit=3).cached(tmp_path)
    assert visible(tmp_path) == sorted([first.fingerprint, second.fingerprint])
    assert np.array_equal(second.array("image"), 255 - first.array("image"))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_caching_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    split = ProceduralFaces("train", 32, limit=250)
    drawn_first = split.fingerprint

    def interrupted(task: tuple[range, int]) -> Any:
        if 150 in task[0]:
            raise error("stop")
        return {name: np.zeros((len(task[0]), 32, 32, *(3,) * (name == "image")), np.uint8) for name in SHEETS}

    monkeypatch.setattr(faces, "ProcessPoolExecutor", Here)
    with monkeypatch.context() as patched:
        patched.setattr(faces, "_render_chunk", interrupted)
        with pytest.raises(error, match="stop"):
            split.cached(tmp_path)
    assert visible(tmp_path) == []
    assert Here.running == 0
    small = ProceduralFaces("train", 32, limit=3)
    leftover = tmp_path / f".{small.fingerprint}.1.partial"
    leftover.mkdir()
    (leftover / "image.npy").write_bytes(b"half")
    small.cached(tmp_path)
    assert visible(tmp_path) == [small.fingerprint]
    assert small.fingerprint != drawn_first


class Here:
    """A pool that works in this process: what it raises needs no pickling."""

    running = 0

    def __init__(self, processes: int) -> None:
        assert processes > 0
        Here.running += 1
        self.map = map

    def shutdown(self, *, cancel_futures: bool) -> None:
        assert cancel_futures
        Here.running -= 1


def test_a_worker_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = ProceduralFaces("train", 32, limit=2)
    assert split.fingerprint
    monkeypatch.setattr(faces, "render", refuse)
    with pytest.raises(AssertionError, match="drawn again"):
        split.cached(tmp_path)
    assert visible(tmp_path) == []


def test_a_damaged_cache_says_so(tmp_path: Path) -> None:
    split = ProceduralFaces("train", 32, limit=2)
    home = tmp_path / split.fingerprint
    split.cached(tmp_path)
    (home / "mask.npy").write_bytes((home / "mask.npy").read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"{home} is damaged .*remove it"):
        split.cached(tmp_path)
    (home / "mask.npy").unlink()
    with pytest.raises(InputError, match=rf"{home} is damaged"):
        split.cached(tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write into .*file"):
        ProceduralFaces("train", 32, limit=2).cached(tmp_path / "file")
