"""`codiff web`: what it refuses, whom it tells what, and that it serves, talks to nobody, and stops cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import typer
from command_line import Command, command, refused
from gradio_client import Client
from models import new_pipeline
from serving import Work, served, small_page, wait_for

from codiff.errors import InputError
from codiff.png_metadata import read_metadata
from codiff.web.accounts import Accounts
from codiff.web.environment import prepare
from codiff.web.listening import address_of, is_local, listen

ROOT = Path(__file__).parent.parent.parent

# Runs a program that may talk to this machine alone, and tells of whatever else it tries.
WATCHED = """
import os, runpy, socket, sys

def local(host):
    return host in (None, "", "localhost", socket.gethostname()) or str(host).startswith(("127.", "::1", "0.0.0.0"))

def watched(real, where):
    def call(*args, **kwargs):
        address = args[where]
        host = address[0] if isinstance(address, tuple) else address
        if not str(host).startswith("/") and not local(host):
            print(f"OUTGOING {host}", file=sys.stderr, flush=True)
            raise OSError("no network here")
        return real(*args, **kwargs)
    return call

class Watched(socket.socket):
    connect = watched(socket.socket.connect, 1)
    connect_ex = watched(socket.socket.connect_ex, 1)

socket.socket = Watched
socket.getaddrinfo = watched(socket.getaddrinfo, 0)
socket.gethostbyname = watched(socket.gethostbyname, 0)
"""
COMMAND = WATCHED + "from codiff.main import main\nsys.exit(main(sys.argv[1:]))\n"
SPACE = WATCHED + f"runpy.run_path({str(ROOT / 'examples' / 'space' / 'app.py')!r}, run_name='__main__')\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return command(capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of text, mask and sketch."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    new_pipeline().save_pretrained(folder)
    return folder


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (("--port", "70000"), "a port is from 0 to 65535"),
            (("--port", "-1"), "a port is from 0 to 65535"),
            (("--host", "192.0.2.1"), "192.0.2.1 is no address of this machine"),
            (("--host", "no host"), "there is no host 'no host'"),
            (("--port", "0", "--model", "nowhere/at/all"), "there is no model folder 'nowhere/at/all'"),
            (("--workers", "0"), "--workers must be 1 or more"),
            (("--queue", "-1"), "--queue must be 1 or more"),
            (("--keep", "nan"), "--keep must be from 15 to 10080 minutes"),
            (("--keep", "0.5"), "--keep must be from 15 to 10080 minutes"),
            (("--keep", "14.9"), "not 14.9: files have to outlive a run, which may take 10"),
            (("--auth", "none"), "there is no none"),
            (("--add-user", "anna"), "--add-user needs --auth FILE"),
            (("--sharing",), "no such option: --sharing"),
        ],
    )
    def test_wrong_input_is_one_line(self, run: Command, arguments: tuple[str, ...], part: str) -> None:
        refused(run("web", *arguments), part)

    def test_a_port_in_use(self, run: Command) -> None:
        with listen("127.0.0.1", 0) as other:
            port = other.getsockname()[1]
            refused(run("web", "--port", port), f"port {port} of 127.0.0.1 is in use; choose another: --port")

    def test_a_missing_extra(self, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("codiff.web.command.find_spec", lambda _name: None)
        refused(run("web"), "this needs the library gradio: pip install 'codiff[web]'")

    def test_accounts_that_others_may_read(self, run: Command, tmp_path: Path) -> None:
        path = tmp_path / "users"
        path.write_text("anna:secret\n")
        path.chmod(0o644)
        refused(run("web", "--auth", path), f"chmod 600 {path}")
        path.chmod(0o600)
        refused(run("web", "--auth", path), "line 1: 'anna' has no scrypt hash", f"--auth {path} --add-user NAME")

    def test_a_broken_model_leaves_no_files(
        self, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        before = dict(os.environ)
        code, said, told = run("web", "--port", 0, "--model", tmp_path / "model")
        os.environ.clear()
        os.environ.update(before)
        assert (code, said) == (2, "")
        assert told.splitlines()[-1].startswith("error: ")
        assert not list((tmp_path / "temporary").iterdir())


class TestWords:
    def test_help_fits_and_names_all(self, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        code, said, _told = run("web", "--help")
        assert code == 0
        assert max(map(len, said.splitlines())) <= 80
        for option in (
            "--model",
            "--device",
            "--port",
            "--open",
            "--host",
            "--domain",
            "--share",
            "--auth",
            "--add-user",
        ):
            assert option in said
        assert "…" not in said

    def test_accounts_are_added(self, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(typer, "prompt", lambda *_args, **_kwargs: "correct horse")
        path = tmp_path / "users"
        code, said, told = run("web", "--auth", path, "--add-user", "anna")
        assert (code, said, told) == (0, "", f"'anna' may log in with --auth {path}\n")
        assert Accounts.read(path).admit("anna", "correct horse")
        assert run("web", "--auth", path, "--add-user", "anna")[2] == f"'anna' has a new password in {path}\n"
        refused(run("web", "--auth", path, "--add-user", "a:b"), "'a:b' is no name")

    @pytest.mark.parametrize(
        ("arguments", "notes"),
        [
            ((), 0),
            (("--host", "localhost"), 0),
            (("--host", "0.0.0.0"), 2),
            (("--share",), 1),
        ],
    )
    def test_who_opens_it_to_others_is_told_what_that_means(
        self, run: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], notes: int
    ) -> None:
        def stop(*_args: object) -> None:
            raise InputError("enough")

        monkeypatch.setattr("codiff.web.command.launch", stop)
        code, _said, told = run("web", "--port", 0, *arguments)
        assert code == 2
        assert [line.partition(":")[0] for line in told.splitlines()] == [*["note"] * notes, "error"]

    def test_an_address_that_cannot_be_shared_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreachable(*_args: object, **_kwargs: object) -> None:
            raise httpx.ConnectError("no network here")

        monkeypatch.setattr("gradio.networking.httpx.get", unreachable)
        reason = r"no address to share: .*; try again later, or leave out --share"
        with served(small_page(Work())) as server, pytest.raises(InputError, match=reason):
            server.share()


class TestPlaces:
    def test_addresses_are_those_to_type(self) -> None:
        for host, shown in (("127.0.0.1", "127.0.0.1"), ("localhost", None), ("0.0.0.0", "localhost")):
            with listen(host, 0) as listener:
                address = address_of(listener)
                port = listener.getsockname()[1]
                assert shown is None or address == f"http://{shown}:{port}"
                assert address.endswith(f":{port}")

    @pytest.mark.parametrize(
        ("host", "local"),
        [
            *(("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("[::1]", True), ("localhost", True)),
            *(("0.0.0.0", False), ("192.168.0.1", False), ("::", False), ("machine.example", False)),
        ],
    )
    def test_local_ones_are_known(self, host: str, local: bool) -> None:
        assert is_local(host) is local

    def test_gradio_is_kept_private(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("ALLOWED_PATHS", "VIBE_MODE", "LOCAL_DEV_MODE", "SHARE", "ANALYTICS_ENABLED", "ROOT_PATH"):
            monkeypatch.setenv(f"GRADIO_{name}", "True")
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", dict(os.environ))
            prepare(tmp_path)
            found = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
        assert found["GRADIO_TEMP_DIR"] == str(tmp_path)
        assert found["GRADIO_ANALYTICS_ENABLED"] == found["GRADIO_MCP_SERVER"] == "False"
        assert found["GRADIO_ROOT_PATH"] == "True"
        assert not {"GRADIO_ALLOWED_PATHS", "GRADIO_VIBE_MODE", "GRADIO_LOCAL_DEV_MODE", "GRADIO_SHARE"} & set(found)


class Program:
    """A program in a process of its own, with an empty folder for temporary files; it ends with the `with` block.

    Attributes:
        lines: what it said on standard error so far.
    """

    def __init__(self, home: Path, code: str, *arguments: object, **variables: str) -> None:
        self.temporary = home / "temporary"
        self.temporary.mkdir()
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT), **variables},
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.reader = threading.Thread(target=self._read)

    def __enter__(self) -> Program:
        self.reader.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line.rstrip())

    def address(self) -> str:
        """Where it answers, once it says so."""
        wait_for(lambda: bool(self._addresses()) or self.process.poll() is not None, 250)
        assert self._addresses(), self.lines
        return self._addresses()[0]

    def end(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(timeout=100)

    def _addresses(self) -> list[str]:
        return [line.split()[1] for line in self.lines if line.startswith("open http")]


class TestServing:
    def test_it_draws_talks_to_nobody_and_stops(self, tmp_path: Path, model: Path) -> None:
        with Program(tmp_path, COMMAND, "web", "--port", 0, "--model", model) as program:
            url = program.address()
            assert url.startswith("http://127.0.0.1:")
            client = Client(url, verbose=False, analytics_enabled=False, download_files=str(tmp_path / "downloads"))
            pictures, *_others = client.predict(text="a young woman", steps=2, api_name="/generate")
            assert len(pictures) == 1
            assert "settings" in read_metadata(Path(pictures[0]["image"]))
            client.submit(text="a young woman", steps=100, count=8, api_name="/generate")
            wait_for(lambda: httpx.get(f"{url}/theme.css", trust_env=False).status_code == 200)
            assert list(program.temporary.iterdir())
            assert program.end(signal.SIGTERM) == 0
        assert program.lines == [
            f"loading the model {model}",
            f"open {url} in a browser; Ctrl-C stops it",
            "stopping; what runs ends within a step",
        ]
        assert not list(program.temporary.iterdir())

    def test_it_is_a_space_unchanged(self, tmp_path: Path, model: Path) -> None:
        variables = {"SYSTEM": "spaces", "SPACE_ID": "anna/faces", "SPACE_HOST": "anna-faces.hf.space"}
        bound = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "0", "CODIFF_MODEL": str(model)}
        with Program(tmp_path, SPACE, **variables, **bound) as program:
            url = program.address()
            outside = {"host": "anna-faces.hf.space", "x-forwarded-proto": "https"}
            answer = httpx.get(url, headers=outside, trust_env=False, timeout=60)
            assert answer.status_code == 200
            assert "frame-ancestors 'self' https://huggingface.co" in answer.headers["content-security-policy"]
            assert answer.headers["set-cookie"].endswith("SameSite=None; Secure; Partitioned")
            other = {"host": "anna-faces.evil.example"}
            assert httpx.get(url, headers=other, trust_env=False, timeout=60).status_code == 421
            assert program.end(signal.SIGINT) == 0
        assert not [line for line in program.lines if "OUTGOING" in line or "Traceback" in line]
        assert not list(program.temporary.iterdir())

    def test_the_watch_itself(self, tmp_path: Path) -> None:
        call = "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/', timeout=1)\n"
        with Program(tmp_path, WATCHED + call, no_proxy="*") as program:
            assert program.process.wait(timeout=60) == 1
            wait_for(lambda: "OUTGOING 192.0.2.1" in program.lines)
