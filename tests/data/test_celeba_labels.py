from pathlib import Path

import pytest

from codiff.data.celeba_labels import DEGREES, FILE, find_labels, read_labels_file
from codiff.errors import InputError

NAMES = "Bangs Eyeglasses No_Beard Smiling Young"
PAPER = ("beard", "age")


def written(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "head", [[NAMES], [f"image_name {NAMES}"], ["2", NAMES], [f"name\t{NAMES}".replace(" ", "\t")]]
)
def test_labels_by_image(tmp_path: Path, head: list[str]) -> None:
    path = written(tmp_path / FILE, *head, "0.jpg 0 1 2 3 4", "", "17.jpg\t5\t4\t3\t2\t1")
    assert read_labels_file(path, PAPER) == {"beard": {0: 2, 17: 3}, "age": {0: 4, 17: 1}}
    assert read_labels_file(path, ["bangs"]) == {"bangs": {0: 0, 17: 5}}
    assert DEGREES[5] == "5"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], r"no column No_Beard or Beard in ''; expected CelebA-Dialog's"),
        (["image Bangs Smiling Young", "0.jpg 0 1 2"], "no column No_Beard or Beard"),
        ([NAMES, "0.jpg 0 1 2 3"], "line 2: 5 fields instead of 6"),
        ([NAMES, "0.jpg 0 1 2 3 6"], "line 2: '6' is no degree of age"),
        ([NAMES, "0.jpg 0 1 -1 3 4"], "line 2: '-1' is no degree of beard"),
        ([NAMES, "", "face 0 1 2 3 4"], "line 3: this is not the name of an image"),
        ([NAMES, "0.jpg 0 1 2 3 4", "0.jpg 0 1 2 3 4"], "line 3: image 0 stands there twice"),
    ],
)
def test_files_that_are_no_labels(tmp_path: Path, lines: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_labels_file(written(tmp_path / FILE, *lines), PAPER)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_labels_file(tmp_path / FILE, PAPER)
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="this is no text"):
        read_labels_file(tmp_path / FILE, PAPER)
    with pytest.raises(InputError, match="unknown attribute 'hair'"):
        read_labels_file(tmp_path / FILE, ["hair"])


@pytest.mark.parametrize("place", ["", "classification_label", "CelebA-Dialog", "CelebA-Dialog/classification_label"])
def test_where_labels_are_found(tmp_path: Path, place: str) -> None:
    assert find_labels(tmp_path / "first", tmp_path / "second") is None
    path = written(tmp_path / "second" / place / FILE, NAMES)
    assert find_labels(tmp_path / "first", tmp_path / "second") == path
