import json
from pathlib import Path

import pytest
from command_line import Command, command, refused
from PIL import Image

from codiff.cli import outputs
from codiff.cli.outputs import save_png, signer_of
from codiff.png_metadata import read_metadata

METADATA = {"model": "demo", "seed": 3, "conditions": {"text": "A man."}}


@pytest.fixture
def codiff(capsys: pytest.CaptureFixture[str]) -> Command:
    return command(capsys)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_png(Image.new("RGB", (16, 16), "red"), tmp_path / "a.png", METADATA, signer_of(True))
    return tmp_path / "a.png"


def test_a_signed_picture(codiff: Command, path: Path) -> None:
    assert read_metadata(path) == METADATA
    code, said, _ = codiff("origin", path)
    assert code == 0
    assert said.startswith("as it was signed: a picture made with codiff; signed by codiff, whom no known authority")
    assert 'conditions: {"text": "A man."}' in said
    told = json.loads(codiff("origin", path, "--json")[1])
    assert told["metadata"] == told["credentials"]["record"] == METADATA


def test_an_edited_photo(codiff: Command, tmp_path: Path) -> None:
    save_png(Image.new("RGB", (16, 16)), tmp_path / "b.png", METADATA, signer_of(True, edited=True))
    assert "a photo edited with codiff" in codiff("origin", tmp_path / "b.png")[1]


def test_a_changed_picture(codiff: Command, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b'"seed": 3') + 8] = ord("4")
    path.write_bytes(bytes(content))
    assert codiff("origin", path)[1].startswith("CHANGED: this is not the picture that was signed")


def test_pictures_without(codiff: Command, tmp_path: Path) -> None:
    save_png(Image.new("RGB", (16, 16)), tmp_path / "a.png", METADATA, signer_of(False))
    assert codiff("origin", tmp_path / "a.png")[1].startswith("no Content Credentials")
    Image.new("RGB", (16, 16)).save(tmp_path / "b.png")
    assert "no metadata of codiff" in codiff("origin", tmp_path / "b.png")[1]
    refused(codiff("origin", tmp_path / "c.png"), "there is no file")


def test_without_the_packages(
    codiff: Command, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (outputs, __import__("codiff.cli.origin", fromlist=["origin"])):
        monkeypatch.setattr(module, "can_sign", lambda: False)
    assert codiff("origin", path)[1].startswith("Content Credentials are not read: pip install")
    assert signer_of(True) is None
    assert "note: pictures carry no Content Credentials" in capsys.readouterr().err
