"""The page's endpoints for programs, called as their users call them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import STEPS, engine, request, result_of
from models import CAPTIONS, raw_conditions
from numpy.typing import NDArray
from PIL import Image
from serving import served

from codiff import InfluenceBias
from codiff.modalities.mask import MASK_PALETTE
from codiff.png_metadata import read_metadata
from codiff.web.engine import Engine
from codiff.web.limits import Limits
from codiff.web.storage import Storage

gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed: pip install 'codiff[web]'")

LIMITS = Limits(painter_side=64, images=2)


@pytest.fixture(scope="module")
def drawing() -> Iterator[Engine]:
    made = engine(LIMITS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(drawing: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from codiff.web.page import build, look

    with served(lambda storage: build(drawing, storage), LIMITS, look=look()) as server:
        connected = gradio_client.Client(
            server.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"), analytics_enabled=False
        )
        yield connected
        connected.close()


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    picture = Image.fromarray(raw_conditions()["mask"]).convert("P")
    picture.putpalette([level for colour in MASK_PALETTE for level in colour])
    picture.save(path)
    return path


def pixels(entry: dict[str, Any]) -> NDArray[np.uint8]:
    return np.asarray(Image.open(entry["image"]))


def expected(drawing: Engine, **changes: Any) -> NDArray[np.uint8]:
    """The first picture that the engine draws of a request."""
    storage = Storage(LIMITS)
    try:
        result = result_of(drawing.draw(drawing.check(request(**changes)), storage.session("test")))
        return np.asarray(result.images[0])
    finally:
        storage.close()


def test_pictures_are_those_of_the_engine(client: Any, drawing: Engine, mask: Path) -> None:
    pictures, archive, record, progress = client.predict(
        text=CAPTIONS[0], mask=gradio_client.handle_file(mask), steps=STEPS, seed=4, count=2, api_name="/generate"
    )
    given = {"text": CAPTIONS[0], "mask": raw_conditions()["mask"]}
    assert len(pictures) == 2
    assert (pixels(pictures[0]) == expected(drawing, conditions=given, seed=4, count=2)).all()
    assert read_metadata(Path(pictures[1]["image"]))["seed"] == 5
    assert Path(archive).suffix == ".zip"
    assert (record["seed"], set(record["conditions"])) == (4, {"text", "mask"})
    assert progress == {"done": True}


def test_twenty_at_once_are_all_answered_with_their_own(client: Any, drawing: Engine, tmp_path: Path) -> None:
    def ask(seed: int) -> NDArray[np.uint8]:
        visitor = gradio_client.Client(client.src, verbose=False, download_files=tmp_path, analytics_enabled=False)
        pictures, *_ = visitor.predict(text=CAPTIONS[seed % 2], steps=STEPS, seed=seed, count=1, api_name="/generate")
        visitor.close()
        return pixels(pictures[0])

    with ThreadPoolExecutor(20) as visitors:
        found = list(visitors.map(ask, range(20)))
    for seed, picture in enumerate(found):
        assert (picture == expected(drawing, conditions={"text": CAPTIONS[seed % 2]}, seed=seed)).all()
    assert len({picture.tobytes() for picture in found}) == 20


def test_nothing_is_decoded_but_the_picture(client: Any, drawing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, decode = [], drawing.pipe.vae.decode

    def counted(latents: Any, *given: Any, **named: Any) -> Any:
        decoded.append(len(latents))
        return decode(latents, *given, **named)

    monkeypatch.setattr(drawing.pipe.vae, "decode", counted)
    client.predict(text=CAPTIONS[0], steps=STEPS, count=2, api_name="/generate")
    assert decoded == [2]


def test_a_record_is_drawn_again_with_its_steering(client: Any, drawing: Engine) -> None:
    given = {"text": CAPTIONS[0], "mask": raw_conditions()["mask"]}
    bias = InfluenceBias({"mask": 2.0}, {"text": np.eye(8, dtype=np.float32)})
    storage = Storage(LIMITS)
    asked = drawing.check(request(conditions=given, bias=bias))
    result = result_of(drawing.draw(asked, storage.session("test")))
    pictures, _, record, _ = client.predict(record=result.record, api_name="/repeat")
    assert (pixels(pictures[0]) == np.asarray(result.images[0])).all()
    assert record == result.record
    storage.close()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "at least one of text, mask, sketch"),
        ({"text": ""}, "it is empty"),
        ({"text": "A man.", "steps": 10**9}, "steps must be a whole number from 1 to 100"),
        ({"text": "A man.", "count": 1000}, "count must be a whole number from 1 to 2"),
        ({"text": "A man.", "scheduler": "magic"}, "unknown scheduler 'magic'"),
        ({"text": "x" * 100_000}, "characters are too many"),
    ],
)
def test_absurd_requests_are_refused_in_a_line(client: Any, drawing: Engine, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(gradio_client.exceptions.AppError, match=told):
        client.predict(**asked, api_name="/generate")
    assert drawing.workers.waiting == drawing.workers.working == 0


def test_only_what_is_meant_for_programs_is_offered(client: Any) -> None:
    offered = client.view_api(return_format="dict")["named_endpoints"]
    assert {"/generate", "/repeat"} <= set(offered)
    assert all(name.startswith(("/generate", "/repeat", "/edit")) for name in offered)
    names = [parameter["parameter_name"] for parameter in offered["/generate"]["parameters"]]
    assert names == ["text", "mask", "sketch", "seed", "count", "steps", "scheduler", "guidance", "composition"]
    assert not any(parameter["parameter_has_default"] is False for parameter in offered["/generate"]["parameters"])
