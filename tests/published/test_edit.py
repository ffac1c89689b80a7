"""The photo and the edited mask that came with the published code, edited by a converted model."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import command
from golden import REAL, Golden
from PIL import Image

from codiff.editing import Learning
from codiff.png_metadata import read_metadata

EXAMPLES = REAL / "official_examples"
PHOTO, PHOTO_MASK, MASK = (
    EXAMPLES / name for name in ("27044.jpg", "27044_0_remove_smile_and_rings.png", "29980_256.png")
)


@pytest.mark.skipif(not PHOTO.is_file(), reason=f"the published photo is not here ({PHOTO})")
@pytest.mark.parametrize("editor", ["imagic", "sdedit", "blended"])
def test_the_published_edit_on_a_converted_model(
    golden: Golden, editor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learning = Learning(token_steps=2, token_rate=1e-2, model_steps=2, model_rate=1e-2, rank=2)
    monkeypatch.setattr("codiff.cli.edit.learning_for", lambda *_args, **_kwargs: learning)
    call = command(capsys)
    source = ("--source", f"mask={MASK}") if editor == "blended" else ()
    code, said, told = call(
        *("edit", PHOTO, "--mask", PHOTO_MASK, "--editor", editor, "--model", golden.model, *source),
        *("--steps", 2, "--out", tmp_path / "out", "--json"),
    )
    assert code == 0, told
    row = json.loads(said)["images"][0]
    with Image.open(row["photo"]) as whole, Image.open(PHOTO) as before:
        assert whole.size == before.size == (256, 256)
        changed = (np.asarray(whole) != np.asarray(before.convert("RGB"))).any(axis=2)
    assert changed[100:200, 100:160].any()
    assert not changed.all()
    assert "mask" in read_metadata(Path(row["image"]))["conditions"]
