import json
from pathlib import Path
from typing import Any

import pytest
from celeba import dialog, of_paper

from codiff.data.celeba_captions import ATTRIBUTES, read_captions
from codiff.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "captions.json"


def written(file: Path, value: Any) -> Path:
    file.write_text(json.dumps(value))
    return file


def test_beard_and_age_are_kept_and_all_on_request(file: Path) -> None:
    written(file, {f"{number}.jpg": dialog(number) for number in (1, 2)})
    assert read_captions(file) == {1: (of_paper(1),), 2: (of_paper(2),)}
    everything = "Bangs of 1. Glasses of 1. Beard of 1. Smile of 1. Age of 1."
    assert read_captions(file, tuple(ATTRIBUTES))[1] == ("All of 1.", everything)
    assert read_captions(file, ["smiling", "bangs"])[2] == ("Bangs of 2. Smile of 2.",)
    assert read_captions(file, ["beard"])[2] == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("He is  young.\n", ("He is young.",)),
        (["One.", "Two.", "One.", " "], ("One.", "Two.")),
        ({"Beard_and_Age": "He is young."}, ("He is young.",)),
        ({"Beard": "A beard.", "Age": "Old."}, ("A beard. Old.",)),
        ({"Beard_and_Age": ""}, ()),
        (None, ()),
    ],
)
@pytest.mark.parametrize("name", ["12.jpg", "12", "00012.png", "12.JPEG"])
def test_accepted_forms(file: Path, value: Any, said: tuple[str, ...], name: str) -> None:
    assert read_captions(written(file, {name: value})) == {12: said}


def test_the_order_is_that_of_the_file(file: Path) -> None:
    assert list(read_captions(written(file, {"10.jpg": "a", "9.jpg": "b", "2.jpg": "c"}))) == [10, 9, 2]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "no caption"),
        ({}, "no caption"),
        (["a"], "a JSON list"),
        ("a", "a JSON str"),
        ({"a.jpg": "b"}, "'a.jpg': this is not the name of an image"),
        ({"../1.jpg": "b"}, "not the name of an image"),
        ({"1.jpg": "a", "01.jpg": "b"}, "image 1 has two captions"),
        ({"1.jpg": "a \ud800 b"}, r"'1\.jpg': its words hold '\\ud800'.*write the caption again"),
        ({"1.jpg": ["a", "a \0 b"]}, r"its words hold '\\x00'"),
        ({"1.jpg": {"Beard_and_Age": "\udfff"}}, r"its words hold '\\udfff'"),
        ({"1.jpg": 3}, "words are expected, not a JSON int"),
        ({"1.jpg": {"Bangs": "a"}}, "no sentence for beard"),
        ({"1.jpg": {"attribute_wise_captions": "a"}}, "attribute_wise_captions is a str"),
    ],
)
def test_wrong_captions(file: Path, value: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_captions(written(file, value))


@pytest.mark.parametrize(
    "content",
    [
        '{"1.jpg": "a", "2.jpg": "b", "1.jpg": "a"}',
        '{"1.jpg": {"Beard_and_Age": "a", "Beard_and_Age": "b"}}',
        '{"1.jpg": {"Beard": "a", "Age": "b", "Age": "c"}}',
        '{"1.jpg": {"attribute_wise_captions": {}, "attribute_wise_captions": {"Beard": "a", "Age": "b"}}}',
    ],
)
def test_names_that_stand_twice(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(InputError, match=r"'1\.jpg': a name stands twice.*; keep one"):
        read_captions(file)


def test_wrong_files_and_attributes(file: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_captions(file)
    for content, told in (("{", "not valid JSON"), ("<html>", "an HTML page"), ("[" * 100_000, "not valid JSON")):
        file.write_text(content)
        with pytest.raises(InputError, match=told):
            read_captions(file)
    written(file, {"1.jpg": {"Beard_and_Age": "a"}})
    with pytest.raises(InputError, match=r"beard and age alone; use CelebA-Dialog's captions_hq\.json"):
        read_captions(file, tuple(ATTRIBUTES))
    with pytest.raises(InputError, match="unknown attribute 'hair'; choose from bangs"):
        read_captions(file, ["hair"])
    with pytest.raises(InputError, match="no attribute"):
        read_captions(file, [])
