from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codiff.data.face_attributes import sample_face
from codiff.data.face_renderer import render
from codiff.data.face_sheet import face_sheet
from codiff.errors import InputError
from codiff.figures import MARGIN
from codiff.main import main
from codiff.modalities.mask import colour


def test_sheet_shows_picture_mask_and_sketch_side_by_side() -> None:
    sheet = np.asarray(face_sheet(1, start=7, size=48))
    drawn = render(sample_face(7), 48)
    inner = slice(MARGIN + 1, MARGIN + 47)  # without the frame
    for place, expected in enumerate((drawn.image, colour(drawn.mask), np.stack([drawn.sketch] * 3, axis=2))):
        left = MARGIN + place * 52
        np.testing.assert_array_equal(sheet[inner, left + 1 : left + 47], expected[1:47, 1:47])


def test_sheet_is_deterministic_and_grows_with_its_count() -> None:
    one, three = face_sheet(1, size=32), face_sheet(3, size=32)
    assert one.tobytes() == face_sheet(1, size=32).tobytes()
    assert three.width * three.height > 2 * one.width * one.height
    assert face_sheet(1, size=32, seed=1).tobytes() != one.tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count"),
        ({"count": 201}, "count"),
        ({"size": 8}, "size"),
        ({"start": -1}, "start"),
        ({"seed": -1}, "seed"),
        ({"count": 200, "size": 1024}, "MP"),
    ],
)
def test_absurd_sheets_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        face_sheet(**arguments)


def test_command_writes_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "sheet.png"
    assert main(["faces", str(target), "--count", "2", "--size", "32"]) == 0
    with Image.open(target) as sheet:
        assert sheet.format == "PNG"
    assert str(target) in "".join(capsys.readouterr().err.split("\n"))
    assert [path.name for path in target.parent.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sheet.jpg", [], "PNG"),
        ("sheet.png", ["--count", "0"], "count"),
        ("folder.png", [], "folder"),
        ("file/sheet.png", [], "not a folder"),
    ],
)
def test_command_refuses_in_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, options: list[str], message: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert main(["faces", str(tmp_path / name), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
