import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from small_disk import files_of_at_most

from codiff.errors import InputError
from codiff.files import recover, write_json, written_aside


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def write_folder(path: Path, content: str) -> None:
    with written_aside(path) as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "file").write_text(content)


def test_writes_a_file_and_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with written_aside(path) as temporary:
        assert temporary.parent == path.parent
        assert not path.exists()
        temporary.write_text("first")
    with written_aside(str(path)) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert names(tmp_path) == ["file.txt", "folder", "new"]


def test_replaces_a_folder_as_a_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "first")
    (tmp_path / "model" / "stale").write_text("")
    write_folder(tmp_path / "model", "second")
    assert (tmp_path / "model" / "inner" / "file").read_text() == "second"
    assert names(tmp_path) == ["file", "inner", "model"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
def test_a_failure_leaves_nothing_and_the_old_one_whole(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(path: Path) -> None:
        with written_aside(path) as temporary:
            temporary.write_text("half")
            raise error

    def fail_in_a_folder(path: Path) -> None:
        with written_aside(path) as temporary:
            temporary.mkdir()
            fail(temporary / "inner")

    write_folder(tmp_path / "model", "first")
    (tmp_path / "file").write_text("first")
    for failing in (fail, fail_in_a_folder):
        for name in ("model", "file", "other"):
            with pytest.raises(error):
                failing(tmp_path / name)
    assert (tmp_path / "model" / "inner" / "file").read_text() == "first"
    assert (tmp_path / "file").read_text() == "first"
    assert names(tmp_path) == ["file", "file", "inner", "model"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"), written_aside(tmp_path / "file"):
        pass
    assert not names(tmp_path)


@pytest.mark.parametrize("name", ["file/below", "file/two/below", "x" * 250])
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=rf"cannot write .*{name}.*Check the folder and its permissions"),
        written_aside(tmp_path / name) as temporary,
    ):
        temporary.write_text("")
    assert names(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_renamed_into_its_place_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "model", "first")
    original = Path.rename
    failed: list[Path] = []

    def rename(self: Path, target: Path) -> Path:
        if self.suffix == ".partial" and not failed:
            failed.append(self)
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match="resource busy"):
        write_folder(tmp_path / "model", "second")
    assert (tmp_path / "model" / "inner" / "file").read_text() == "first"
    assert names(tmp_path) == ["file", "inner", "model"]


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("first")
    told = r"cannot write .*file: File too large after 4\.0 KiB; [\d.]+ [KM]iB are free\. Make room"
    with pytest.raises(InputError, match=told), files_of_at_most(4096), written_aside(tmp_path / "file") as temporary:
        temporary.write_bytes(bytes(10_000))
    assert (tmp_path / "file").read_text() == "first"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_under_safetensors(tmp_path: Path) -> None:
    def save() -> None:
        with written_aside(tmp_path / "model") as temporary:
            temporary.mkdir()
            save_file({"weight": torch.zeros(10_000)}, temporary / "model.safetensors")

    with pytest.raises(InputError, match="File too large after"), files_of_at_most(4096):
        save()
    assert not names(tmp_path)


def test_other_errors_of_safetensors_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{}")
    with pytest.raises(SafetensorError), written_aside(tmp_path / "file"):
        load_file(tmp_path / "broken")


def test_the_leftover_of_a_killed_process_of_the_same_number_does_not_matter(tmp_path: Path) -> None:
    leftover = tmp_path / f".model.{os.getpid()}.partial"
    leftover.mkdir()
    (leftover / "half").write_text("")
    with written_aside(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "whole").write_text("")
    assert names(tmp_path) == ["model", "whole"]


def test_what_was_being_replaced_returns(tmp_path: Path) -> None:
    write_folder(tmp_path / ".model.12.old", "first")
    write_folder(tmp_path / ".model.12.partial", "second")
    recover(tmp_path)
    assert (tmp_path / "model" / "inner" / "file").read_text() == "first"
    assert names(tmp_path) == ["file", "inner", "model"]


def test_what_was_replaced_goes(tmp_path: Path) -> None:
    write_folder(tmp_path / ".model.12.old", "first")
    write_folder(tmp_path / "model", "second")
    (tmp_path / ".curves.png.12.partial").write_text("half")
    recover(tmp_path)
    assert (tmp_path / "model" / "inner" / "file").read_text() == "second"
    assert names(tmp_path) == ["file", "inner", "model"]


def test_only_leftovers_are_touched_and_only_those_asked_for(tmp_path: Path) -> None:
    recover(tmp_path / "nowhere")
    others = [".lock", "model.old", ".model.partial", ".model.x.partial", "a.partial", "model.12.partial"]
    for name in (*others, ".model.12.partial", ".model.2.12.partial"):
        (tmp_path / name).write_text("")
    recover(tmp_path, "model")
    assert names(tmp_path) == sorted([*others, ".model.2.12.partial"])
    recover(tmp_path)
    assert names(tmp_path) == sorted(others)


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "value.json", {"name": "Zoë", "list": [1, 2.5, None]})
    assert (tmp_path / "a" / "value.json").read_text(encoding="utf-8") == (
        '{\n  "name": "Zoë",\n  "list": [\n    1,\n    2.5,\n    null\n  ]\n}\n'
    )
    with pytest.raises(TypeError):
        write_json(tmp_path / "a" / "value.json", {"name": object()})
    assert names(tmp_path) == ["a", "value.json"]
