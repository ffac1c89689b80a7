from __future__ import annotations

import gc
import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import until
from small_disk import files_of_at_most

from codiff.web.field_error import FieldError
from codiff.web.limits import Limits
from codiff.web.room import Room
from codiff.web.storage import Storage


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def storage() -> Iterator[Storage]:
    opened = Storage(Limits(keep_seconds=100))
    yield opened
    opened.close()


def aged(path: Path, seconds: float) -> Path:
    """A file or folder that has not changed for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)
    return path


class TestSessions:
    def test_folders_are_private(self, storage: Storage) -> None:
        folder = storage.session("abc")
        for path in (storage.root, folder.path, folder.new_folder("pictures")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700

    def test_a_session_keeps_its_folder_and_others_have_their_own(self, storage: Storage) -> None:
        assert storage.session("abc") is storage.session("abc")
        assert storage.session("abc").path != storage.session("abd").path

    @pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "a/b", "..", "", "a\0b", "\ud800", "x" * 5000])
    def test_no_name_of_a_client_leads_elsewhere(self, storage: Storage, name: str) -> None:
        path = storage.session(name).path
        assert path.parent == storage.root
        assert path.is_dir()

    def test_names_cannot_be_guessed_from_the_hash(self, home: Path) -> None:
        one, other = Storage(), Storage()
        assert one.session("abc").name != other.session("abc").name
        assert "abc" not in one.session("abc").name
        assert len({*home.iterdir()}) == 2
        one.close()
        other.close()

    def test_without_a_session_nothing_is_shared(self, storage: Storage) -> None:
        assert storage.session(None).path != storage.session(None).path

    def test_a_session_that_is_forgotten_leaves_nothing(self, storage: Storage) -> None:
        other = storage.session("other").new("kept.png")
        other.write_bytes(b"kept")
        folder = storage.session("abc")
        folder.new("lost.png").write_bytes(b"lost")
        storage.forget("abc")
        assert not folder.path.exists()
        assert other.read_bytes() == b"kept"
        assert storage.session("abc").path.is_dir()


class TestNames:
    def test_new_paths_are_free_and_readable(self, storage: Storage) -> None:
        folder = storage.session("abc")
        one, two = folder.new("My mask.PNG"), folder.new("My mask.PNG")
        assert one != two
        assert one.name == two.name == "my-mask.png"
        assert one.parent.parent == folder.path
        assert not one.exists()

    @pytest.mark.parametrize("name", ["../../evil.sh", "/etc/passwd", ".bashrc", "..", "", "a\0.png", "…"])
    def test_names_of_clients_lose_all_but_letters_and_digits(self, storage: Storage, name: str) -> None:
        folder = storage.session("abc")
        path = folder.new(name)
        assert path.parent.parent == folder.path
        assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
        assert not path.name.startswith(".")


class TestRoom:
    def full(self) -> Storage:
        storage = Storage(Limits(stored_bytes=1000))
        storage.session("abc").new("photo.png").write_bytes(bytes(1001))
        until(lambda: storage.is_full)
        return storage

    def test_it_ends(self) -> None:
        storage = self.full()
        for make in (storage.session("abc").new_folder, lambda: storage.session("other").new("mask.png")):
            with pytest.raises(FieldError, match="no room for more files just now; try again later") as refusal:
                make()
            assert refusal.value.field == "run"
        storage.close()

    def test_there_is_some_again_when_files_go(self) -> None:
        storage = self.full()
        storage.expire(time.time() + 2 * storage.limits.keep_seconds)
        until(lambda: not storage.is_full)
        assert storage.session("abc").new("photo.png").parent.is_dir()
        storage.close()

    def test_up_to_it_all_is_taken_in(self) -> None:
        storage = Storage(Limits(stored_bytes=1000))
        for session in ("abc", "other"):
            storage.session(session).new("photo.png").write_bytes(bytes(500))
        time.sleep(0.1)
        assert not storage.is_full
        storage.close()

    def test_asking_costs_little(self, tmp_path: Path) -> None:
        for number in range(3000):
            (tmp_path / f"{number}").mkdir()
        room = Room(tmp_path, 1000)
        begun = time.perf_counter()
        assert room.is_left
        once = time.perf_counter() - begun
        begun = time.perf_counter()
        assert all(room.is_left for _ in range(1000))
        assert time.perf_counter() - begun < 20 * once  # and not 1000 times


class TestOnlyOne:
    def test_what_comes_takes_the_place_of_what_was(self, storage: Storage) -> None:
        folder = storage.session("abc")
        other = folder.new("photo.png")
        other.write_bytes(b"other")
        paths = [folder.keep_only("photo", content) for content in (b"one", b"two")]
        assert [path.exists() for path in paths] == [False, True]
        assert folder.owned(paths[1], "photo").read_bytes() == b"two"
        assert other.read_bytes() == b"other"
        assert len(list(folder.path.iterdir())) == 2

    def test_where_it_cannot_be_written_nothing_changes(self, storage: Storage) -> None:
        folder = storage.session("abc")
        path = folder.keep_only("photo", b"one")
        with files_of_at_most(10), pytest.raises(OSError, match="too large"):
            folder.keep_only("photo", bytes(1000))
        assert path.read_bytes() == b"one"
        assert [entry.name for entry in folder.path.iterdir()] == [path.parent.name]


class TestOwnFiles:
    def test_a_file_of_the_session_comes_back(self, storage: Storage) -> None:
        path = storage.session("abc").new("mask.png")
        path.write_bytes(b"mine")
        assert storage.session("abc").owned(str(path), "mask") == path

    def test_all_else_is_refused(self, storage: Storage, tmp_path: Path) -> None:
        folder, secret = storage.session("abc"), tmp_path / "secret"
        secret.write_text("secret")
        strangers = storage.session("other").new("his.png")
        strangers.write_bytes(b"his")
        inner = folder.new_folder()
        (inner / "link.png").symlink_to(secret)
        (folder.path / "way").symlink_to(tmp_path)
        os.mkfifo(inner / "pipe")
        wrong: list[str | Path] = [
            secret,
            strangers,
            inner,
            inner / "link.png",
            inner / "pipe",
            folder.path / "way" / "secret",
            inner / "absent.png",
            f"{folder.path}/../{strangers.parent.parent.name}/{strangers.parent.name}/his.png",
            f"{inner}/a\0b",
            "secret",
            "",
            folder.path,
        ]
        for path in wrong:
            with pytest.raises(FieldError, match="not one of yours") as caught:
                folder.owned(path, "mask")
            assert caught.value.field == "mask"


class TestExpiry:
    def test_what_is_old_goes_and_what_is_new_stays(self, storage: Storage) -> None:
        folder = storage.session("abc")
        old, new = folder.new("old.png"), folder.new("new.png")
        old.write_bytes(b"old")
        new.write_bytes(b"new")
        aged(old.parent, 101)
        storage.expire()
        assert not old.parent.exists()
        assert new.read_bytes() == b"new"

    def test_an_empty_session_goes_and_can_come_back(self, storage: Storage) -> None:
        folder = storage.session("abc")
        storage.expire(time.time() + 99)
        assert folder.path.exists()
        storage.expire(time.time() + 101)
        assert not folder.path.exists()
        assert storage.session("abc").path == folder.path
        assert folder.path.is_dir()

    def test_links_are_removed_not_followed(self, storage: Storage, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "file").write_text("kept")
        folder = storage.session("abc")
        for link in (folder.path / "link", storage.root / "session"):
            link.symlink_to(precious)
        storage.expire(time.time() + 1000)
        assert not os.path.lexists(folder.path / "link")
        assert not os.path.lexists(storage.root / "session")
        assert (precious / "file").read_text() == "kept"

    def test_files_of_others_in_the_root_expire_too(self, storage: Storage) -> None:
        uploads = storage.root / "hash"
        uploads.mkdir()
        (uploads / "photo.png").write_bytes(b"photo")
        aged(uploads / "photo.png", 101)
        (storage.root / "loose").write_bytes(b"loose")
        aged(storage.root / "loose", 101)
        storage.expire()
        assert not (uploads / "photo.png").exists()
        assert not (storage.root / "loose").exists()


class TestTheEnd:
    def test_nothing_is_left(self, home: Path) -> None:
        storage = Storage()
        storage.session("abc").new("mask.png").write_bytes(b"mine")
        storage.close()
        storage.close()
        assert list(home.iterdir()) == []

    def test_nothing_is_left_when_it_is_let_go(self, home: Path) -> None:
        Storage().session("abc")
        gc.collect()
        assert list(home.iterdir()) == []

    def test_the_next_server_removes_what_a_killed_one_left(self, home: Path) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            killed = Storage()
            os.write(writing, str(killed.session("abc").path).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        left = Path(os.read(reading, 1000).decode())
        assert left.is_dir()
        assert left.parent.parent == home
        alive = Storage()
        for root in (left.parent, alive.root):
            aged(root, 1000)
        Storage().close()
        assert not left.parent.exists()
        assert alive.root.exists()
        alive.close()

    def test_leftovers_that_are_not_ours_stay(self, home: Path, tmp_path: Path) -> None:
        (home / "codiff-web-unlocked").mkdir()
        (home / "codiff-web-link").symlink_to(tmp_path)
        aged(home / "codiff-web-unlocked", 1000)
        Storage().close()
        assert (home / "codiff-web-unlocked").is_dir()
        assert (home / "codiff-web-link").is_symlink()
