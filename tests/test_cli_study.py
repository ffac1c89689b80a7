import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, command, refused
from test_study import METHODS, picture, respond

from codiff.study.key import read_key
from codiff.study.making import Study


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Calls the command line in a folder with pictures: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    for place, method in enumerate(METHODS):
        (tmp_path / "images" / method).mkdir(parents=True)
        for number in range(4):
            picture(10 * number + place).save(tmp_path / "images" / method / f"face-{number}.png")
    captions = {f"face-{number}.png": f"Caption {number}" for number in range(4)}
    (tmp_path / "captions.json").write_text(json.dumps(captions))

    return command(capsys)


@pytest.fixture
def made(run: Command, tmp_path: Path) -> Study:
    assert run("study", "make", "--images", "images", "--checks", 4)[0] == 0
    (tmp_path / "study" / "answers").mkdir()
    return Study("", read_key(tmp_path / "study" / "key.json"))


def hand_in(study: Study, home: Path, seed: int, **kwargs: Any) -> Path:
    path = home / "study" / "answers" / f"{seed}.json"
    path.write_text(json.dumps(respond(study, seed, "Walrus", **kwargs)))
    return path


def test_make_tells_what_participants_are_in_for(run: Command, tmp_path: Path) -> None:
    (tmp_path / "notice.txt").write_text("We ask.\n\nWrite to us.")
    command = ("study", "make", "--images", "images", "--captions", "captions.json", "--notice", "notice.txt")
    code, said, told = run(*command, "--methods", "Zebra,Walrus", "--conditions", 3, "--checks", 2, "--out", "out")
    assert (code, said) == (0, "")
    first, second, page, key = told.splitlines()
    assert first.endswith(": Walrus, Zebra; realism, text; 6 choices (1 pair) and 2 checks, about 1 min")
    assert second == "who fails more than 0 of 2 checks is excluded; 25.0% of those who guess would pass"
    assert page.startswith("out/study.html: 0.0 MB")
    assert key.startswith("out/key.json: not for participants")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"study.html", "key.json"}
    assert '"notice": ["We ask.", "Write to us."]' in (tmp_path / "out" / "study.html").read_text()
    before = (tmp_path / "out" / "study.html").read_bytes()
    assert run(*command, "--methods", "Walrus,Zebra", "--conditions", 3, "--checks", 2, "--out", "out")[0] == 0
    assert (tmp_path / "out" / "study.html").read_bytes() == before
    refused(run(*command, "--out", "out"), "out holds another study")
    assert run(*command, "--methods", "Walrus,Zebra", "--conditions", 3, "--checks", 2, "--out", "again")[0] == 0
    assert (tmp_path / "again" / "study.html").read_bytes() != before  # nobody can compute the names


def test_make_draws_with_rules(run: Command, tmp_path: Path) -> None:
    command = ("study", "make", "--methods", "mean,mask-alone", "--conditions", 2, "--checks", 1, "--out", "drawn")
    code, _, told = run(*command)
    assert code == 0
    assert ": mask-alone, mean; realism, text, mask; 6 choices (1 pair)" in told
    material = tmp_path / "drawn" / "material"
    pictures = {path: path.read_bytes() for path in material.glob("images/*/*.png")}
    assert len(pictures) == 4
    assert len(set(pictures.values())) == 4
    assert {path.name for path in pictures} == {path.name for path in material.glob("masks/*.png")}
    assert json.loads((material / "captions.json").read_text()).keys() == {path.name for path in pictures}
    page = (tmp_path / "drawn" / "study.html").read_bytes()
    lost = next(iter(pictures))
    lost.unlink()
    assert run(*command)[0] == 0
    assert lost.read_bytes() == pictures[lost]
    assert (tmp_path / "drawn" / "study.html").read_bytes() == page
    refused(run(*command, "--guidance", 1), "drawn/material was made with other settings")


def test_analyse_reports_and_finds_the_key(run: Command, made: Study, tmp_path: Path) -> None:
    paths = [hand_in(made, tmp_path, seed, failing=2 * (seed == 3)) for seed in range(4)]
    code, said, told = run("study", "analyse", *paths, "--out", "report.md")
    assert (code, told) == (0, "wrote report.md\n")
    assert (tmp_path / "report.md").read_text() == said
    assert "- Participants: 3 counted, 1 excluded for failing more than 0 of 4 attention checks" in said
    assert "| Walrus | Zebra | 12 | 100.0% [75.8, 100.0] | 0.001 | 3 / 0 / 0 | 0.750 |" in said
    assert "| Quokka | Zebra | 12 | 50.0% [25.4, 74.6] | 1.000 | 0 / 0 / 3 | 1.000 |" in said
    code, said, told = run("study", "analyse", *paths, tmp_path / "study" / "key.json", "--json")
    report = json.loads(said)
    assert (code, told, report["participants"], report["excluded"]) == (0, "", 3, 1)
    assert [each["rate"]["count"] for each in report["preferences"]] == [0, 6, 12]
    (tmp_path / "copy.json").write_bytes(paths[0].read_bytes())
    code, said, told = run("study", "analyse", *paths, "copy.json")
    assert (code, told.count("\n")) == (0, 1)
    assert told.startswith("note: copy.json is a copy of ")
    assert "- Files left out as copies of another: 1." in said


def test_analyse_refuses(run: Command, made: Study, tmp_path: Path) -> None:
    path = hand_in(made, tmp_path, 1)
    refused(run("study", "analyse"), "ANSWERS", "codiff study analyse --help")
    refused(run("study", "analyse", path, "--key", "none.json"), "the key none.json cannot be read")
    refused(run("study", "analyse", path, "--key", "captions.json"), "is not the key of a study")
    refused(run("study", "analyse", path, "captions.json"), "captions.json holds no answers of a study")
    refused(run("study", "analyse", path, "--out", "study"), "study is a folder")
    path.write_text(path.read_text()[:-40])
    refused(run("study", "analyse", path), "holds no answers of a study")
    path.write_text(json.dumps({**respond(made, 1), "study": "0" * 16}))
    refused(run("study", "analyse", path), "answers study '0000000000000000', but the key is that of")
    (tmp_path / "study" / "key.json").rename(tmp_path / "hidden.json")
    refused(run("study", "analyse", path), "no key.json lies beside the answers", "--key")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--images", "nowhere"), ("there is no folder nowhere",)),
        (("--images", "images", "--methods", "Zebra"), ("two methods or more",)),
        (("--images", "images", "--questions", "mask"), ("'mask' needs the mask",)),
        (("--images", "images", "--questions", "charm"), ("unknown question 'charm'", "identity")),
        (("--images", "images", "--conditions", "0"), ("4 conditions are there, 0 are asked for",)),
        (("--images", "images", "--checks", "5"), ("from 0 to 4",)),
        (("--images", "images", "--captions", "none.json"), ("none.json cannot be read",)),
        (("--images", "images", "--notice", "none.txt"), ("none.txt cannot be read",)),
        (("--images", "images", "--out", "captions.json/below"), ("not a folder",)),
        ((), ("give --images", "--methods")),
        (("--methods", "mean"), ("two or more of the rules",)),
        (("--methods", "mean,weighted"), ("without weighted",)),
        (("--methods", "mean,text"), ("unknown method 'text'", "text-alone")),
        (("--methods", "mean,text-alone", "--conditions", "0"), ("demo-3000 has 3000 conditions, 0 are asked for",)),
        (("--methods", "mean,text-alone", "--masks", "images"), ("--masks belongs to --images",)),
        (("--methods", "mean,text-alone", "--protocol", "nothing"), ("unknown protocol 'nothing'",)),
        (("--methods", "mean,text-alone", "--model", "nowhere/at/all"), ("nowhere/at/all",)),
    ],
)
def test_make_refuses_and_writes_nothing(
    run: Command, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run("study", "make", *arguments), *parts)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "captions.json"}
