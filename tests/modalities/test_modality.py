from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.modalities import MaskModality, Modality, SketchModality, TextModality, modality


class Number(Modality, name="number-of-the-tests"):
    """One number -> one token."""

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        if features < 1:
            raise InputError("features must be positive")
        self.linear = nn.Linear(1, features)

    def read(self, raw: Any) -> Tensor:
        if not isinstance(raw, (int, float)):
            raise InputError(f"a number is expected, not {type(raw).__name__}")
        return torch.tensor([[float(raw)]])

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs)[:, None]


@pytest.mark.parametrize(
    ("name", "config", "cls"),
    [
        ("mask", {"size": 16, "channels": 8}, MaskModality),
        ("sketch", {}, SketchModality),
        ("text", {"vocab_size": 8}, TextModality),
        ("number-of-the-tests", {"features": 2}, Number),
    ],
)
def test_creates_by_name(name: str, config: dict[str, Any], cls: type[Modality]) -> None:
    assert isinstance(Modality.create(name, config), cls)
    assert cls.name == name


def test_unknown_names_and_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown modality encoder 'smell'; known: .*mask.*sketch.*text"):
        Modality.create("smell", {})
    with pytest.raises(InputError, match="'mask' cannot be built from"):
        Modality.create("mask", {"sise": 64})
    with pytest.raises(InputError, match="vocab_size"):
        Modality.create("text", {})
    with pytest.raises(InputError, match="must be positive"):
        Modality.create("number-of-the-tests", {"features": 0})


def test_names_are_given_once() -> None:
    with pytest.raises(TypeError, match=r"already defined by codiff\.modalities\.mask\.MaskModality"):

        class Other(Number, name="mask"):
            pass

    class Same(Number):  # without a name of its own it is not registered
        pass

    assert isinstance(Modality.create("number-of-the-tests", {}), Number)


def test_packages_bring_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "scent_of_the_tests.py").write_text(
        "from codiff.modalities import SketchModality\nclass Scent(SketchModality, name='scent-of-the-tests'): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("scent-of-the-tests", "scent_of_the_tests:Scent", modality.ENTRY_POINT_GROUP)
    monkeypatch.setattr(modality, "entry_points", lambda **query: EntryPoints([entry]).select(**query))
    assert type(Modality.create("scent-of-the-tests", {"size": 8})).__name__ == "Scent"


def test_encodes_one_condition_or_several() -> None:
    number = Number()
    assert number.encode(2).shape == (1, 1, 3)
    tokens = number.encode([2, 3.5])
    assert tokens.shape == (2, 1, 3)
    assert not tokens.requires_grad
    assert torch.equal(tokens, number.encode((2, 3.5)))
    with pytest.raises(InputError, match="leave the modality out"):
        number.encode([])
    with pytest.raises(InputError, match="a number is expected"):
        number.encode([1, "two"])


def test_defaults_draw_nothing_and_hold_nothing(tmp_path: Path) -> None:
    number = Number()
    assert number.picture(number.read(1), 8) is None
    assert number.describe(number.read(1)) == "number-of-the-tests"
    number.save_assets(tmp_path)
    assert not list(tmp_path.iterdir())
    number.load_assets(tmp_path)


@pytest.mark.parametrize("name", ["mask", "sketch", "text"])
def test_weights_and_config_are_all_there_is(name: str) -> None:
    config = {"vocab_size": 8, "features": 8} if name == "text" else {"size": 16, "channels": 8, "features": 8}
    first, second = Modality.create(name, config), Modality.create(name, config)
    second.load_state_dict(first.state_dict())
    inputs = (
        torch.eye(16)[None, None]
        if name == "sketch"
        else torch.ones(1, *((16, 16) if name == "mask" else (32,))).long()
    )
    assert torch.equal(first(inputs), second(inputs))
