"""Which part of a photo is edited."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from codiff.data.faces import ProceduralFaces
from codiff.errors import InputError, InputNotice
from codiff.photos.aligning import EYES
from codiff.photos.finding import FoundFace
from codiff.photos.framing import FaceChoiceError, frame_eyes, frame_face, frame_whole
from codiff.photos.own_photo import OwnPhoto

SIDE = 64
LANCZOS = Image.Resampling.LANCZOS


def photo(width: int = 240, height: int = 160) -> OwnPhoto:
    """A drawn face somewhere in a grey picture."""
    picture = Image.new("RGB", (width, height), (120, 130, 140))
    picture.paste(Image.fromarray(ProceduralFaces("validation", 128)[3].image), (60, 16))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return OwnPhoto.open(stream.getvalue())


def eyes() -> list[tuple[float, float]]:
    return [(60 + 128 * x, 16 + 128 * y) for x, y in EYES]


def test_a_crop_at_the_eyes_is_put_back() -> None:
    framed = frame_eyes(photo(), SIDE, eyes())
    assert framed.crop.size == (SIDE, SIDE)
    assert framed.is_part
    assert framed.eyes_seen
    inverted = Image.fromarray(255 - np.asarray(framed.crop))
    changed = (np.asarray(framed.put_back(inverted, None)) != np.asarray(photo().picture)).any(axis=2)
    assert changed[40:120, 90:160].mean() > 0.5
    assert not changed[:, :58].any()
    half = np.zeros((SIDE, SIDE), bool)
    half[:, : SIDE // 2] = True
    partly = (np.asarray(framed.put_back(inverted, half)) != np.asarray(photo().picture)).any(axis=2)
    assert not partly[:, 140:].any()


def test_places_have_names() -> None:
    first, same = (frame_eyes(photo(), SIDE, eyes()) for _ in range(2))
    moved = frame_eyes(photo(), SIDE, [(x + 1, y) for x, y in eyes()])
    assert first.place == same.place
    assert first.place != moved.place


def test_the_only_face_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FoundFace((eyes()[0], eyes()[1]), (70.0, 20.0, 170.0, 120.0), eyes_seen=False)
    monkeypatch.setattr("codiff.photos.framing.find_faces", lambda _picture: [found])
    framed = frame_face(photo(), SIDE)
    assert np.array_equal(np.asarray(framed.crop), np.asarray(frame_eyes(photo(), SIDE, eyes()).crop))
    assert not framed.eyes_seen


def test_an_aligned_picture_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [(100 * x, 100 * y) for x, y in EYES]
    known = FoundFace((places[0], places[1]), (20.0, 20.0, 80.0, 80.0), eyes_seen=True)
    monkeypatch.setattr("codiff.photos.framing.find_faces", lambda _picture: [known])
    framed = frame_face(photo(100, 100), 100)
    assert (framed.aligned, framed.is_part, framed.place, framed.crop.size) == (True, False, None, (100, 100))
    cut = frame_face(photo(100, 100), SIDE, 0)
    assert (cut.aligned, cut.is_part) == (False, True)


def test_where_no_face_is_found_only_pictures_of_the_models_size_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codiff.photos.framing.find_faces", lambda _picture: [])
    assert frame_face(photo(SIDE, SIDE), SIDE).aligned
    for side in (SIDE - 1, SIDE + 1, 448):
        with pytest.raises(FaceChoiceError, match="no face was found"):
            frame_face(photo(side, side), SIDE)


def test_an_aligned_picture_with_more_pixels_is_changed_within_them() -> None:
    large = photo(120, 120)
    framed = frame_whole(large, SIDE)
    assert framed.crop.size == (SIDE, SIDE)
    whole = np.asarray(large.picture)
    assert np.array_equal(np.asarray(framed.crop), np.asarray(large.picture.resize((SIDE, SIDE), LANCZOS)))
    inverted = Image.fromarray(255 - np.asarray(framed.crop))
    changed = (np.asarray(framed.put_back(inverted, None)) != whole).any(axis=2)
    assert changed[20:100, 20:100].mean() > 0.9
    assert not changed[0].any()
    assert frame_whole(photo(40, 40), SIDE).crop.size == (40, 40)
    with pytest.raises(InputError, match="240 x 160 pixels, but an aligned picture of one face is square"):
        frame_whole(photo(), SIDE)


def test_faces_of_many_more_pixels_than_the_model_draws_are_told() -> None:
    with pytest.warns(InputNotice, match="the face is 128 pixels wide here and the model draws 60"):
        frame_eyes(photo(), 60, eyes())
    with pytest.warns(InputNotice, match="the face is 160 pixels wide here"):
        frame_whole(photo(160, 160), 60)


def test_which_face_must_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [FoundFace(((x, 40.0), (x + 20, 40.0)), (x, 20.0, x + 40, 60.0), eyes_seen=True) for x in (30.0, 120.0)]
    monkeypatch.setattr("codiff.photos.framing.find_faces", lambda _picture: found)
    with pytest.raises(FaceChoiceError, match="2 faces were found") as error:
        frame_face(photo(), SIDE)
    assert error.value.found == found
    with pytest.raises(FaceChoiceError, match="no face number 2"):
        frame_face(photo(), SIDE, 2)
    monkeypatch.setattr("codiff.photos.framing.find_faces", lambda _picture: [])
    with pytest.raises(FaceChoiceError, match="no face was found") as nobody:
        frame_face(photo(), SIDE)
    assert nobody.value.found == []


def test_faces_that_cannot_be_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_picture: Image.Image) -> list[FoundFace]:
        raise InputError("OpenCV is missing")

    monkeypatch.setattr("codiff.photos.framing.find_faces", missing)
    with pytest.raises(InputError, match="OpenCV is missing"):
        frame_face(photo(), SIDE)
    with pytest.raises(InputError, match="OpenCV is missing"):
        frame_face(photo(200, 200), SIDE)
    assert frame_face(photo(SIDE, SIDE), SIDE).aligned
    assert frame_eyes(photo(), SIDE, eyes()).is_part
