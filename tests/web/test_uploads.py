"""What kinds of files come in, and how much of them."""

from __future__ import annotations

import base64
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from serving import Visitor, Work, picture, raw, served, small_page, wait_for
from serving import server as server
from serving import visitor as visitor

from codiff.errors import InputError
from codiff.web.limits import Limits
from codiff.web.picker import picked_file
from codiff.web.server import PageServer
from codiff.web.storage import SessionFolder, Storage
from codiff.web.uploads import check_upload

LIMITS = Limits(upload_bytes=300_000, pixels=1_000_000)
HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where the server has just removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def left(server: PageServer) -> set[Path]:
    return {path for path in server._storage.root.rglob("*") if path.is_file()}


def empty_png(side: int) -> bytes:
    """A PNG that promises a square of pixels, and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


def archive(name: str, content: bytes, *, packed: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        file.writestr(name, content)
    return stream.getvalue()


def tensor(path: Path) -> bytes:
    torch.save(torch.zeros(19, 1024), path)
    return path.read_bytes()


class TestKinds:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"<html><script>alert(1)</script></html>", "an HTML page"),
            (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
            (b"%PDF-1.7", "a PDF document"),
            (b"", "empty"),
            (b"\x80\x04\x95", "a Python pickle"),
            (b"PK\x03\x04" + bytes(50), "damaged zip archive"),
            (archive("a.txt", b"a"), "a zip archive"),
            (archive("a/data.pkl", bytes(100_000), packed=True), "compressed"),
            (b'{"a": ', "damaged"),
            (b"[" * 250_000, "too many values"),
            (b"[" * 100_000, "too deep"),
            (b"#!/bin/sh\nrm -rf /\n", "text"),
            (picture()[:20], "PNG"),
            (empty_png(2000), "4.0 million pixels; at most 1.0 million pixels"),
            (empty_png(60_000), "far too many pixels"),
            (bytes(300_001), "0.3 MiB"),
        ],
    )
    def test_others_are_refused(self, tmp_path: Path, content: bytes, reason: str) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(content)
        with pytest.raises(InputError, match=reason) as refusal:
            check_upload(path, LIMITS)
        assert str(tmp_path) not in str(refusal.value)

    @pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
    def test_pictures_are_let_in(self, tmp_path: Path, image_format: str) -> None:
        path = tmp_path / "a.exe"
        path.write_bytes(picture(16, image_format))
        check_upload(path, LIMITS)

    def test_so_are_settings_and_tensors(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        for content in (b'\xef\xbb\xbf {"seed": 1}', b"[]", tensor(tmp_path / "a.pt")):
            path.write_bytes(content)
            check_upload(path, LIMITS)


class TestPicked:
    """What a picker of the page sends."""

    @pytest.fixture
    def folder(self) -> Iterator[SessionFolder]:
        storage = Storage()
        yield storage.session("abc")
        storage.close()

    def test_a_file_is_there_as_long_as_it_is_read(self, folder: SessionFolder) -> None:
        sent = {"name": "../a.png", "size": 1, "data": base64.b64encode(picture()).decode()}
        with picked_file(sent, folder, LIMITS) as path:
            assert path.read_bytes() == picture()
            assert path.is_relative_to(folder.path)
        assert list(folder.path.iterdir()) == []

    @pytest.mark.parametrize(
        ("sent", "reason"),
        [
            (None, "no file came"),
            ({"data": ""}, "no file came"),
            ({"name": "a.png", "size": 400_000, "data": ""}, "has 0.4 MiB, and at most 0.2 MiB can be picked here"),
            ({"name": "a.png", "size": 1, "data": "A" * 300_001}, "too large; at most 0.2 MiB"),
            ({"name": "a.png", "size": 1, "data": None}, "your browser could not read this file"),
            ({"name": "a.png", "size": 1, "data": "%"}, "arrived damaged"),
            ({"name": "a.png", "size": 5, "data": base64.b64encode(b"words").decode()}, "text. Upload a drawing"),
        ],
    )
    def test_what_is_wrong_is_told(self, folder: SessionFolder, sent: Any, reason: str) -> None:
        with pytest.raises(InputError, match=reason), picked_file(sent, folder, LIMITS, "a drawing"):
            pass
        assert list(folder.path.iterdir()) == []


class TestOverTheNetwork:
    def test_what_is_refused_leaves_nothing(self, server: PageServer, visitor: Visitor) -> None:
        before = left(server)
        two = [("files", ("a.png", picture())), ("files", ("b.png", b"<html>"))]
        answer = visitor.post("/gradio_api/upload", files=two)
        assert (answer.status_code, "an HTML page" in answer.text) == (415, True)
        assert left(server) == before

    @pytest.mark.parametrize("chunked", [False, True])
    def test_too_much_is_refused_while_it_comes(self, server: PageServer, visitor: Visitor, chunked: bool) -> None:
        before, most = left(server), 0

        def body() -> Iterator[bytes]:
            nonlocal most
            yield HEAD + picture()
            for _ in range(20):
                yield bytes(50_000)
                most = max(most, sum(size_of(path) for path in left(server) - before))
            yield b"\r\n--x--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=x"}
        content = body() if chunked else b"".join(body())
        answer = visitor.post("/gradio_api/upload", content=content, headers=headers)
        assert (answer.status_code, "maximum allowed size" in answer.text) == (413, True)
        assert most <= LIMITS.upload_bytes + 2**16
        assert left(server) == before

    def test_what_is_broken_off_leaves_nothing(self, server: PageServer) -> None:
        before = left(server)
        head = (
            "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        )
        with raw(server, f"{head}Content-Length: 9999\r\n\r\n{HEAD.decode()}{'a' * 1000}"):
            wait_for(lambda: left(server) != before)
        wait_for(lambda: left(server) == before)

    @pytest.mark.parametrize("name", ["../../../x.png", "/etc/x.png", "..\\x.png", "ü" * 200 + ".png", "<x>'\"&.png"])
    def test_names_lead_nowhere(self, server: PageServer, visitor: Visitor, name: str) -> None:
        path = Path(visitor.upload(picture(), name).json()[0])
        assert path.resolve() == path
        assert path.is_relative_to(server._storage.root)
        assert visitor.file(quote(str(path))).content == picture()

    def test_there_is_an_end_to_the_room(self) -> None:
        small = Limits(stored_bytes=10_000)
        with served(small_page(Work()), small) as server, Visitor(server) as visitor:
            assert visitor.upload(picture(64)).status_code == 200  # some 12 kB
            wait_for(lambda: server._storage.is_full)
            assert visitor.upload(picture()).status_code == 507
            assert not visitor.ask("own", "mine")["success"]
            assert visitor.ask("echo", [1])["data"] == [[1]]
