"""Studies: what their design promises, what their page hides, and their analysis against closed forms."""

from __future__ import annotations

import base64
import io
import json
import random
from collections import Counter
from itertools import combinations
from math import comb, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from codiff.data.named_files import read_named_captions
from codiff.errors import InputError, InputNotice
from codiff.study.analysis import Preference, analyse, holm, rate, sign_test
from codiff.study.answers import Answers, read_all, read_answers
from codiff.study.checks import chance_of_passing, most_unlike, spoiled
from codiff.study.design import design
from codiff.study.folders import Folders
from codiff.study.key import Key, read_key
from codiff.study.making import Study, make_study
from codiff.study.page import coding_of, data_uri
from codiff.study.questions import QUESTIONS, Condition

METHODS = ("Zebra", "Quokka", "Walrus")


def picture(seed: int, size: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def conditions(count: int, methods: tuple[str, ...] = METHODS) -> list[Condition]:
    return [
        Condition(
            f"face-{number}",
            {method: picture(100 * number + place) for place, method in enumerate(methods)},
            caption=f"Caption number {number}",
            mask=Image.new("RGB", (16, 16), (40 * number % 256, 80, 120)),
            original=picture(7000 + number),
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(conditions(4), questions=["realism", "text"], checks=4, allowed_failures=0.25)


def respond(study: Study, seed: int, winner: str | None = None, *, failing: int = 0) -> dict[str, Any]:
    """What a participant hands in who chooses `winner` wherever it is shown, and else the first picture; `failing`
    attention checks are failed."""
    key = study.key
    answers: list[dict[str, Any]] = []
    for name, trial in key.trials.items():
        pair = (trial.first, trial.second)
        if trial.correct is not None:
            wrong = pair[1] if trial.correct == pair[0] else pair[0]
            chosen = wrong if failing > 0 else trial.correct
            failing -= 1
        else:
            chosen = next((each for each in pair if key.pictures[each].method == winner), pair[0])
        answers.append(
            {"trial": name, "chosen": chosen, "place": pair.index(chosen) + 1, "milliseconds": 1000 + len(answers)}
        )
    return {
        "format": "codiff study answers",
        "version": 1,
        "study": key.study,
        "participant": f"{seed:032x}",
        "seed": seed,
        "mirrored": False,
        "answers": answers,
    }


def read(*given: dict[str, Any]) -> list[Answers]:
    return [Answers.model_validate(each) for each in given]


class TestDesign:
    @given(count=st.integers(1, 7), methods=st.integers(2, 5), questions=st.integers(1, 4), seed=st.integers(0, 9))
    @settings(max_examples=40, deadline=None)
    def test_is_balanced(self, count: int, methods: int, questions: int, seed: int) -> None:
        names, asked = tuple("abcde"[:methods]), list(QUESTIONS)[:questions]
        made = design(conditions(count, names), names, asked, 0, seed)
        pairs: Counter[tuple[str, frozenset[str]]] = Counter()
        places: Counter[tuple[str, str]] = Counter()
        for trial in made.trials.values():
            first, second = made.shown[trial.first], made.shown[trial.second]
            assert first.condition == second.condition == trial.condition
            pairs[trial.question, frozenset((first.method, second.method))] += 1
            places[trial.question, first.method] += 1
            places[trial.question, second.method] -= 1
        wanted = {(name, frozenset(pair)) for name in asked for pair in combinations(names, 2)}
        assert pairs == dict.fromkeys(wanted, count)
        exact = count % 2 == 0 or methods % 2 == 1
        assert all(abs(surplus) <= (0 if exact else 1) for surplus in places.values())
        if questions % 2 == 0:
            assert all(sum(places[name, method] for name in asked) == 0 for method in names)

    def test_no_pair_is_seen_twice(self, study: Study) -> None:
        seen = {(each.question, frozenset((each.first, each.second))) for each in study.key.trials.values()}
        assert len(seen) == len(study.key.trials) == 2 * 3 * 4 + 4

    @pytest.mark.parametrize("checks", [0, 3, 8, 16])
    def test_checks_are_spread_and_evidently_wrong(self, checks: int) -> None:
        made = design(conditions(4), METHODS, list(QUESTIONS), checks, 1)
        found = [trial for trial in made.trials.values() if trial.correct is not None]
        assert len(found) == checks
        asked = Counter(trial.question for trial in found)
        assert max(asked.values(), default=0) - min((asked[name] for name in QUESTIONS), default=0) <= 1
        assert abs(sum(1 if trial.correct == trial.first else -1 for trial in found)) <= 1
        for trial in found:
            wrong = trial.second if trial.correct == trial.first else trial.first
            right, shown = made.shown[str(trial.correct)], made.shown[wrong]
            assert (right.condition, right.spoiled) == (trial.condition, False)
            assert right.method == shown.method
            assert shown.spoiled if trial.question == "realism" else shown.condition != trial.condition

    def test_a_spoiled_picture_has_the_same_pixels_elsewhere(self) -> None:
        before, after = picture(3, 40), spoiled(picture(3, 40), random.Random(0))
        pixels, shuffled = (np.asarray(each).reshape(-1, 3) for each in (before, after))
        assert sorted(map(tuple, pixels)) == sorted(map(tuple, shuffled))
        assert (pixels != shuffled).any(axis=1).mean() > 0.8

    def test_the_wrong_condition_has_least_in_common(self) -> None:
        captions = ("a man with a beard", "a man with a moustache", "she wears glasses")
        three = [Condition(caption, {}, caption=caption) for caption in captions]
        assert most_unlike("text", three[0], three) is three[2]
        with pytest.raises(InputError, match="differ in their caption"):
            most_unlike("text", three[0], three[:1])

    def test_chance_of_passing_is_binomial(self) -> None:
        assert chance_of_passing(8, 0.2) == (1 + 8) / 256
        assert chance_of_passing(10, 0.3) == sum(comb(10, failed) for failed in range(4)) / 1024
        assert (chance_of_passing(5, 0.0), chance_of_passing(5, 1.0), chance_of_passing(0, 0.2)) == (1 / 32, 1.0, 1.0)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"methods": ["Zebra"]}, "two or more"),
            ({"methods": ["Zebra", "Zebra"]}, "two or more"),
            ({"methods": ["Zebra", "Emu"]}, "has no picture of 'Emu'"),
            ({"conditions": []}, "needs conditions"),
            ({"conditions": conditions(1) * 2}, "a name of its own"),
            ({"questions": ["beauty"]}, "unknown question 'beauty'"),
            ({"questions": []}, "one at least"),
            ({"questions": ["text", "text"]}, "once"),
            ({"conditions": [Condition("a", conditions(1)[0].pictures)], "questions": ["mask"]}, "needs the mask"),
            ({"checks": 9}, "from 0 to 8"),
            ({"checks": -1}, "from 0 to 8"),
        ],
    )
    def test_refuses(self, change: dict[str, Any], message: str) -> None:
        given = {"conditions": conditions(4), "methods": METHODS, "questions": ["realism", "text"], "checks": 2}
        with pytest.raises(InputError, match=message):
            design(**{**given, "seed": 0, **change})


class TestPage:
    def test_same_arguments_same_study_other_seed_another(self, study: Study) -> None:
        again = make_study(conditions(4), questions=["realism", "text"], checks=4, allowed_failures=0.25)
        other = make_study(conditions(4), questions=["realism", "text"], checks=4, allowed_failures=0.25, seed=1)
        assert (again.page, again.key) == (study.page, study.key)
        assert other.key.study != study.key.study

    def test_tells_no_method_no_name_and_no_check(self, study: Study) -> None:
        for hidden in (*METHODS, "face-", "correct", "spoiled"):
            assert hidden.lower() not in study.page.lower()

    def test_nothing_that_a_picture_file_says_gets_through(self, tmp_path: Path) -> None:
        info = PngImagePlugin.PngInfo()
        info.add_text("method", "Zebra")
        picture(0).save(tmp_path / "a.png", pnginfo=info)
        Image.open(tmp_path / "a.png").save(tmp_path / "a.jpg", comment=b"Zebra")
        for name in ("a.png", "a.jpg"):
            opened = Image.open(tmp_path / name)
            assert "Zebra" in str(opened.info)
            for coding in ("PNG", "JPEG"):
                assert b"Zebra" not in _bytes_of(data_uri(opened, coding))

    def test_small_pictures_are_kept_exactly_and_all_are_coded_alike(self) -> None:
        small, large = picture(0, 64), picture(1, 300)
        assert coding_of({"a": small}, 512) == "PNG"
        assert coding_of({"a": small, "b": large}, 512) == "JPEG"
        assert coding_of({"a": large}, 128) == "PNG"
        assert _decoded(data_uri(small, "PNG")).tobytes() == small.tobytes()
        smooth = Image.radial_gradient("L").resize((300, 300)).convert("RGB")
        off = np.asarray(_decoded(data_uri(smooth, "JPEG"))).astype(int) - np.asarray(smooth)
        assert np.abs(off).max() <= 4

    def test_large_pictures_are_scaled_and_that_is_told(self) -> None:
        with pytest.warns(InputNotice, match="scaled down to 32 pixels"):
            made = make_study(_sized(64), questions=["realism"], checks=0, size=32)
        content = json.loads(made.page.split('id="content">')[1].split("</script>")[0])
        assert {_decoded(uri).size for uri in content["pictures"].values()} == {(32, 32)}

    def test_pictures_of_different_sizes_are_announced(self) -> None:
        mixed = [Condition("a", {"x": picture(0, 16), "y": picture(1, 32)})]
        with pytest.warns(InputNotice, match="2 different sizes"):
            make_study(mixed, checks=0)

    def test_no_text_can_leave_its_place(self) -> None:
        evil = "</script><script>alert(1)</script><!-- $policy ${style}"
        hostile = [Condition(str(n), {"x": picture(n), "y": picture(n + 9)}, caption=f"{evil} {n}") for n in (0, 1)]
        made = make_study(hostile, checks=0, notice=evil)
        assert made.page.count("</script>") == 2
        assert "<!--" not in made.page
        content = json.loads(made.page.split('id="content">')[1].split("</script>")[0])
        assert content["notice"] == [evil]
        assert {each["words"] for each in content["references"].values()} == {f"{evil} 0", f"{evil} 1"}

    @pytest.mark.parametrize(("change", "message"), [({"size": 8}, "32 to 2048"), ({"allowed_failures": 2}, "0 to 1")])
    def test_numbers_out_of_range_are_refused(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            make_study(conditions(2), **change)

    def test_a_key_is_never_overwritten_by_another_study(self, study: Study, tmp_path: Path) -> None:
        study.write(tmp_path)
        study.write(tmp_path)
        assert read_key(tmp_path / "key.json") == study.key
        with pytest.raises(InputError, match="holds another study"):
            make_study(conditions(2), checks=0).write(tmp_path)


def _sized(size: int) -> list[Condition]:
    return [Condition("a", {"x": picture(0, size), "y": picture(1, size)})]


def _bytes_of(uri: str) -> bytes:
    return base64.b64decode(uri.split(",")[1])


def _decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(_bytes_of(uri))).convert("RGB")


class TestStatistics:
    @pytest.mark.parametrize(("count", "total"), [(0, 10), (7, 10), (60, 100), (10, 10)])
    def test_wilson_interval_is_the_published_formula(self, count: int, total: int) -> None:
        z, share = 1.959963984540054, count / total
        middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
        half = z / (1 + z**2 / total) * sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
        found = rate(count, total)
        assert (found.share, found.count, found.total) == (share, count, total)
        assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-12)

    @given(first=st.integers(0, 30), second=st.integers(0, 30))
    @settings(max_examples=30, deadline=None)
    def test_sign_test_sums_the_tails(self, first: int, second: int) -> None:
        n = first + second
        tail = sum(comb(n, k) for k in range(min(first, second) + 1)) / 2**n
        assert sign_test(first, second) == pytest.approx(min(1.0, 2 * tail), abs=1e-12)
        assert sign_test(first, second) == sign_test(second, first)

    def test_holm_by_hand(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.5, 0.6]) == [1.0, 1.0]
        assert holm([0.2]) == [0.2]


class TestAnalysis:
    def test_one_method_always_wins(self, study: Study) -> None:
        found = analyse(read(*(respond(study, seed, "Walrus") for seed in range(6))), study.key)
        assert (found.participants, found.excluded, found.checks, found.allowed_failures) == (6, 0, 4, 1)
        assert [(each.question, each.first, each.second) for each in found.preferences] == [
            (question, *pair) for question in ("realism", "text") for pair in combinations(sorted(METHODS), 2)
        ]
        for each in found.preferences:
            if "Walrus" in (each.first, each.second):
                won = each.first == "Walrus"
                assert (each.rate.share, each.rate.total) == (float(won), 24)
                assert each.p_value == pytest.approx(2 / 2**24)
                assert each.p_holm == pytest.approx(3 * each.p_value)
                assert (each.participants_first, each.participants_second) == ((6, 0) if won else (0, 6))
                assert each.p_participants == pytest.approx(2 / 2**6)
            else:  # always the first place: by the balance of places no preference at all
                assert (each.rate.share, each.p_value, each.participants_tied) == (0.5, 1.0, 6)
                assert each.p_participants == 1.0

    def test_who_fails_too_many_checks_does_not_count(self, study: Study) -> None:
        careful = [respond(study, seed, "Walrus", failing=1) for seed in range(3)]
        careless = [respond(study, seed, "Zebra", failing=2) for seed in range(3, 5)]
        found = analyse(read(*careful, *careless), study.key)
        assert (found.participants, found.excluded) == (3, 2)
        assert _between(found.preferences, "realism", "Walrus", "Zebra").rate.share == 1.0
        passed = found.checks_passed
        assert sum(each.count for each in passed.values()) == 3 * 3 + 2 * 2
        with pytest.raises(InputError, match="all 2 participants failed more than 1 of 4"):
            analyse(read(*careless), study.key)

    def test_exchanged_places_change_no_preference(self, study: Study) -> None:
        plain = respond(study, 1, "Quokka")
        turned = {**plain, "mirrored": True}
        turned["answers"] = [{**each, "place": 3 - each["place"]} for each in plain["answers"]]
        assert read(turned)[0].fault(study.key) == ""
        first, second = (analyse(read(each), study.key) for each in (plain, turned))
        assert first.preferences == second.preferences
        assert first.first_place.count == second.first_place.total - second.first_place.count

    def test_times_and_places(self, study: Study) -> None:
        found = analyse(read(respond(study, 1)), study.key)
        assert found.first_place.share == 1.0
        assert found.seconds == pytest.approx(1.0115)  # 1000 .. 1023 ms of the comparisons, which come first


def _between(found: list[Preference], question: str, first: str, second: str) -> Preference:
    return next(each for each in found if (each.question, each.first, each.second) == (question, first, second))


class TestAnswerFiles:
    def write(self, path: Path, value: Any) -> Path:
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    def test_copies_count_once_and_contradictions_are_refused(self, study: Study, tmp_path: Path) -> None:
        first = self.write(tmp_path / "a.json", respond(study, 1, "Zebra"))
        copy = self.write(tmp_path / "b.json", respond(study, 1, "Zebra"))
        other = self.write(tmp_path / "c.json", respond(study, 1, "Walrus"))
        with pytest.warns(InputNotice, match=r"b\.json is a copy of .*a\.json"):
            found, copies = read_all([first, copy], study.key)
        assert (len(found), copies) == (1, 1)
        with pytest.raises(InputError, match="different answers of the same participant"):
            read_all([first, other], study.key)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"study": "0123456789abcdef"}, "answers study '0123456789abcdef', but the key is that of"),
            ({"format": "other"}, "holds no answers of a study"),
            ({"version": 2}, "holds no answers of a study"),
            ({"participant": "Jane Doe"}, "holds no answers of a study"),
            ({"name": "Jane Doe"}, "holds no answers of a study"),
            ({"answers": []}, "answers 0 of the study's 28 choices"),
            ({"mirrored": True}, "did not stand in place"),
        ],
    )
    def test_what_is_wrong_is_refused(self, study: Study, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            read_answers(self.write(tmp_path / "a.json", {**respond(study, 1), **change}), study.key)

    def test_choices_are_checked(self, study: Study, tmp_path: Path) -> None:
        whole = respond(study, 1)
        twice = {**whole, "answers": [*whole["answers"], whole["answers"][0]]}
        with pytest.raises(InputError, match="answers a choice twice"):
            read_answers(self.write(tmp_path / "a.json", twice), study.key)
        foreign = {**whole, "answers": [{**whole["answers"][0], "chosen": "00000000"}, *whole["answers"][1:]]}
        with pytest.raises(InputError, match="did not stand in place"):
            read_answers(self.write(tmp_path / "a.json", foreign), study.key)

    @pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", "\x00", '{"format": "codiff study answers"}'])
    def test_broken_files_are_refused(self, study: Study, tmp_path: Path, text: str) -> None:
        with pytest.raises(InputError, match="holds no answers of a study"):
            read_answers(self.write(tmp_path / "a.json", text), study.key)
        with pytest.raises(InputError, match="is not the key of a study"):
            read_key(self.write(tmp_path / "a.json", text))

    def test_nothing_to_read(self, study: Study, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.json cannot be read"):
            read_answers(tmp_path / "none.json", study.key)
        with pytest.raises(InputError, match="no answers are given"):
            read_all([], study.key)

    def test_a_key_that_contradicts_itself_is_refused(self, study: Study, tmp_path: Path) -> None:
        broken = json.loads(study.key.model_dump_json())
        next(iter(broken["trials"].values()))["first"] = "00000000"
        with pytest.raises(InputError, match="names what the key does not hold"):
            read_key(self.write(tmp_path / "key.json", broken))
        assert Key.model_validate_json(study.key.model_dump_json()) == study.key


class TestFolders:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        for place, method in enumerate(METHODS):
            (tmp_path / "images" / method).mkdir(parents=True)
            for number in range(4):
                picture(10 * number + place).save(tmp_path / "images" / method / f"face-{number}.png")
        (tmp_path / "captions.json").write_text(json.dumps({f"face-{n}.png": f"Caption {n}" for n in range(4)}))
        (tmp_path / "masks").mkdir()
        for number in range(4):
            Image.new("L", (16, 16), number).save(tmp_path / "masks" / f"face-{number}.png")
        return tmp_path

    def test_reads_what_belongs_together(self, home: Path) -> None:
        found = Folders(home / "images", ["Walrus", "Zebra"], home / "captions.json", home / "masks").conditions()
        assert [each.name for each in found] == [f"face-{number}" for number in range(4)]
        assert list(found[0].pictures) == ["Walrus", "Zebra"]
        assert found[1].pictures["Zebra"].tobytes() == picture(10).tobytes()
        assert (found[2].caption, found[2].original) == ("Caption 2", None)
        assert found[1].mask is not None
        assert found[1].mask.getpixel((0, 0)) == (204, 0, 0)  # skin, in the colours of CelebAMask-HQ

    def test_draws_conditions_by_the_seed(self, home: Path) -> None:
        draws = {tuple(each.name for each in Folders(home / "images").conditions(2, seed)) for seed in range(8)}
        assert len(draws) > 1
        names = [each.name for each in Folders(home / "images").conditions(2, 3)]
        assert names == sorted(names) == [each.name for each in Folders(home / "images").conditions(2, 3)]

    def test_what_lacks_something_is_left_out_and_told(self, home: Path) -> None:
        (home / "images" / "Zebra" / "face-0.png").unlink()
        (home / "masks" / "face-3.png").unlink()
        with pytest.warns(InputNotice, match="2 of 4 conditions lack something and are left out, as 'face-0'"):
            found = Folders(home / "images", masks=home / "masks").conditions()
        assert [each.name for each in found] == ["face-1", "face-2"]

    def test_refuses(self, home: Path) -> None:
        images = home / "images"
        with pytest.raises(InputError, match="there is no folder"):
            Folders(home / "nowhere").conditions()
        with pytest.raises(InputError, match="holds no method 'Emu'; it holds Quokka, Walrus, Zebra"):
            Folders(images, ["Emu", "Zebra"]).conditions()
        with pytest.raises(InputError, match="two methods or more"):
            Folders(images, ["Zebra", "Zebra"]).conditions()
        with pytest.raises(InputError, match="4 conditions are there, 5 are asked for"):
            Folders(images).conditions(5)
        (home / "empty").mkdir()
        with pytest.raises(InputError, match="holds no pictures"):
            Folders(images, originals=home / "empty").conditions()
        picture(0).save(home / "empty" / "other.png")
        with pytest.raises(InputError, match="belong together by their names"):
            Folders(images, originals=home / "empty").conditions()
        picture(0).save(images / "Zebra" / "face-0.jpg")
        with pytest.raises(InputError, match="have the same name"):
            Folders(images).conditions()
        (images / "Walrus" / "face-1.png").write_text("no picture")
        with pytest.raises(InputError, match=r"picture of Walrus .*not a readable image"):
            Folders(images, ["Quokka", "Walrus"]).conditions()

    def test_captions_in_both_forms(self, tmp_path: Path) -> None:
        path = tmp_path / "captions"
        path.write_text('{"a.png": "One.", "b": " Two. "}')
        assert read_named_captions(path) == {"a": "One.", "b": "Two."}
        path.write_text('{"name": "a.png", "text": "One."}\n\n{"name": "b", "text": "Two.", "seed": 3}\n')
        assert read_named_captions(path) == {"a": "One.", "b": "Two."}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "holds no captions"),
            ("{}", "holds no captions"),
            ("[1]", "holds no captions"),
            ('{"a": 1}', "holds no captions"),
            ('{"name": "a"}\n{"name": "b"}', "holds no captions"),
            ('{"a": " "}', "'a' is empty"),
            ('{"a.png": "x", "a.jpg": "y"}', "given twice"),
        ],
    )
    def test_captions_of_another_form_are_refused(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "captions").write_text(text)
        with pytest.raises(InputError, match=message):
            read_named_captions(tmp_path / "captions")
