import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codiff.errors import InputError
from codiff.image_files import open_image
from codiff.photos import finding
from codiff.photos.finding import FoundFace, check_eyes, choose_face, find_faces

REAL = Path(__file__).parents[2] / "../shared/real"
LONDON = REAL / "london_faces"
photos = pytest.mark.skipif(not LONDON.is_dir(), reason=f"needs the photos in {LONDON}, which are not part of codiff")


def face(left: float) -> FoundFace:
    return FoundFace(((left + 30, 40), (left + 70, 40)), (left, 0, left + 100, 100), True)


@photos
def test_portraits_are_found_and_their_eyes_located() -> None:
    marks = json.loads((LONDON / "landmarks189.json").read_text())
    errors = []
    for name, points in list(marks.items())[:12]:
        (found,) = find_faces(open_image(LONDON / name))
        assert found.eyes_seen
        truth = np.array(sorted(points[:2]))
        distance = np.hypot(*(truth[1] - truth[0]))
        errors.append(np.hypot(*(np.array(found.eyes) - truth).T).max() / distance)
    assert np.median(errors) < 0.04
    assert max(errors) < 0.08


@photos
def test_faces_are_counted_from_the_left() -> None:
    names = sorted(LONDON.glob("*.jpg"))[:2]
    pair = [open_image(name).resize((384, 512)) for name in names]
    row = Image.new("RGB", (768, 512))
    for place, picture in enumerate(pair):
        row.paste(picture, (384 * place, 0))
    faces = find_faces(row)
    assert len(faces) == 2
    assert faces[0].eyes[1][0] < 384 < faces[1].eyes[0][0]
    with pytest.raises(InputError, match=r"2 faces were found; choose one by its number: 0 at \(\d+, \d+\); 1 at"):
        choose_face(faces)
    assert choose_face(faces, 1) == faces[1]


def test_there_is_no_face_in_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert find_faces(Image.fromarray(noise)) == []
    assert find_faces(Image.new("RGB", (3, 5))) == []


def test_choosing() -> None:
    assert choose_face([face(0)]) == face(0)
    with pytest.raises(InputError, match=r"no face was found: .*say where the eyes are"):
        choose_face([])
    with pytest.raises(InputError, match=r"no face number 2; found were 0 at \(50, 50\); 1 at \(250, 50\)"):
        choose_face([face(0), face(200)], 2)
    with pytest.raises(InputError, match="no face number -1"):
        choose_face([face(0)], -1)


def test_given_eyes() -> None:
    assert check_eyes([(60, 20), (10, 22)], (100, 100)) == ((10, 22), (60, 20))
    wrong: list[tuple[list[tuple[float, float]], str]] = [
        ([(1, 2)], "two eyes are expected"),
        ([(1, 2), (300, 2)], "300, 2 lies outside the photo of 100 x 100"),
        ([(1, float("nan")), (30, 2)], "outside the photo"),
        ([(10, 10), (12, 11)], "less than four pixels apart"),
    ]
    for places, message in wrong:
        with pytest.raises(InputError, match=message):
            check_eyes(places, (100, 100))


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    finding._cascade.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"OpenCV, which is missing: pip install 'codiff\[photo\]'"):
        find_faces(Image.new("RGB", (100, 100)))
