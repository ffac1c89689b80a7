import io
import json
import stat
import sys
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image

from codiff.credentials import Identity, open_identity, read_origin, signed
from codiff.credentials.identity import FOLDER_VARIABLE
from codiff.errors import InputError

RECORD = {"model": "demo", "seed": 3, "conditions": {"text": "A man with a beard."}, "settings": {"steps": 25}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def identity(home: Path) -> Identity:
    assert not (home / ".config").exists()
    return open_identity()


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("edited", [False, True])
def test_what_was_signed_is_read(edited: bool, identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(signed(png(), RECORD, identity, version="1.2", edited=edited))
    origin = read_origin(path)
    assert origin is not None
    assert (origin.intact, origin.trusted, origin.edited) == (True, False, edited)
    assert origin.signer == "codiff"
    assert origin.record == RECORD
    told = json.loads(c2pa.Reader("image/png", io.BytesIO(path.read_bytes())).json())
    assertions = {each["label"]: each["data"] for each in told["manifests"][told["active_manifest"]]["assertions"]}
    actions = next(data["actions"] for label, data in assertions.items() if label.startswith("c2pa.actions"))
    assert [each["action"] for each in actions] == ["c2pa.created", "c2pa.edited"][: 1 + edited]
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(io.BytesIO(png()))))


def test_changed_pixels_and_changed_records_are_noticed(identity: Identity, tmp_path: Path) -> None:
    whole = signed(png(), RECORD, identity, version="1.2")
    at_pixels, at_record = len(whole) - 60, whole.index(b"A man with")
    for place in (at_pixels, at_record):
        content = bytearray(whole)
        content[place] ^= 1
        path = tmp_path / "a.png"
        path.write_bytes(bytes(content))
        origin = read_origin(path)
        assert origin is not None
        assert not origin.intact


def test_pictures_without_credentials(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    assert read_origin(path) is None
    path.write_bytes(b"nothing")
    assert read_origin(path) is None
    with pytest.raises(InputError, match=r"b\.png cannot be read: No such file"):
        read_origin(tmp_path / "b.png")


def test_an_installation_keeps_its_identity_to_itself(home: Path) -> None:
    first = open_identity()
    folder = home / ".config" / "codiff" / "credentials"
    assert open_identity() == first
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "key.pem").unlink()
    with pytest.raises(InputError, match=r"key\.pem: No such file or directory; remove the folder, and a new identity"):
        open_identity()


def test_a_given_identity(identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "given"))
    with pytest.raises(InputError, match=r"certificate\.pem: No such file or directory; check CODIFF_CREDENTIALS"):
        open_identity()
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "certificate.pem").write_bytes(identity.certificates)
    (tmp_path / "given" / "key.pem").write_bytes(identity.key)
    assert open_identity() == identity


def test_certificates_that_do_not_fit(identity: Identity) -> None:
    for wrong in (Identity(b"nothing", identity.key), Identity(identity.certificates, b"nothing")):
        with pytest.raises(InputError, match="cannot be signed with this certificate and key"):
            signed(png(), RECORD, wrong, version="1")


def test_long_records_are_cut(identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(signed(png(), {"text": "x" * 10**6}, identity, version="1"))
    origin = read_origin(path)
    assert origin is not None
    assert origin.intact
    assert len(path.read_bytes()) < 60_000


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(InputError, match=r"pip install 'codiff\[provenance\]'"):
        read_origin(home)
    with pytest.raises(InputError, match=r"pip install 'codiff\[provenance\]'"):
        open_identity()
