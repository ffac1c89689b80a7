"""What programs call: the page's work without the page, with names, defaults and errors that fit in a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from inspect import Parameter, Signature
from typing import Any

import gradio as gr

from codiff.web.condition_kinds import Words, kind_of
from codiff.web.engine import Engine, Request, Result
from codiff.web.field_error import FieldError
from codiff.web.generate_tab import work_event
from codiff.web.runs import Done, Event, Step
from codiff.web.storage import Storage

_USUAL = Request({})
_SETTINGS: dict[str, tuple[Any, Any]] = {
    "seed": (gr.Number, _USUAL.seed),
    "count": (gr.Number, _USUAL.count),
    "steps": (gr.Number, _USUAL.steps),
    "scheduler": (gr.Textbox, None),
    "guidance": (gr.Number, None),
    "composition": (gr.Textbox, None),
}
"""Name -> component and default."""
_GENERATE = """Draw pictures that follow the given conditions together; leave out those that are not to take part.

Returns the pictures, a zip file of pictures, conditions and settings, a record that restores all of it, and how far
the work is. None for scheduler, guidance and composition takes the model's own."""
_REPEAT = """Draw again what a record describes, steering included: settings.json of an earlier result."""


class Endpoints:
    """`/generate` and `/repeat`, added to the page that is being built.

    Args:
        engine: what draws.
        storage: where the pictures go.
    """

    def __init__(self, engine: Engine, storage: Storage) -> None:
        self._engine, self._storage = engine, storage
        with gr.Column(visible=False):
            conditions = {modality: _condition(engine, modality) for modality in engine.pipe.modalities}
            settings = {name: kind(value, label=name) for name, (kind, value) in _SETTINGS.items()}
            record = gr.JSON(label="record")
            outputs = [
                gr.Gallery(label="pictures", format="png"),
                gr.File(label="archive"),
                gr.JSON(label="record"),
                gr.JSON(label="progress"),
            ]
            start = gr.Button()

        def generate(*values: Any) -> Iterator[Any]:
            *given, request = values
            yield from self._generate(dict(zip([*conditions, *settings], given, strict=True)), request)

        _sign(generate, {**dict.fromkeys(conditions), **{name: value for name, (_, value) in _SETTINGS.items()}})
        start.click(
            generate, [*conditions.values(), *settings.values()], outputs, api_name="generate",
            api_description=_GENERATE, **work_event(engine),
        )  # fmt: skip
        start.click(self._repeat, record, outputs, api_name="repeat", api_description=_REPEAT, **work_event(engine))

    def _generate(self, values: Mapping[str, Any], request: gr.Request) -> Iterator[Any]:
        asked = {name: value for name, value in values.items() if value is not None}
        conditions = {name: asked.pop(name) for name in self._engine.pipe.modalities if name in asked}
        yield from self._drawn(lambda: Request(conditions, **asked), request)

    def _repeat(self, record: Any, request: gr.Request) -> Iterator[Any]:
        yield from self._drawn(lambda: self._engine.restore(json.dumps(record)).request, request)

    def _drawn(self, made: Callable[[], Request], request: gr.Request) -> Iterator[Any]:
        """How far it is, and at last pictures, archive, record and that it is done.

        Raises:
            gr.Error: what is wrong with the request, in a line.
        """
        try:
            checked = self._engine.check(made())
            session = self._storage.session(request.session_hash)
            with closing(self._engine.draw(checked, session, previews=False)) as events:
                for event in events:
                    yield _told(event)
        except FieldError as error:
            told = str(error) if str(error).startswith(error.field) else f"{error.field}: {error}"
            raise gr.Error(told, print_exception=False) from error


def _told(event: Event[Result]) -> tuple[Any, Any, Any, dict[str, Any]]:
    """What the endpoints answer at an event."""
    if isinstance(event, Done):
        result = event.result
        pictures = [(str(path), caption) for path, caption in zip(result.paths, result.captions, strict=True)]
        return pictures, str(result.archive_path), result.record, {"done": True}
    far = {"step": event.index, "of": event.of} if isinstance(event, Step) else {"waiting": event.position}
    return gr.skip(), gr.skip(), gr.skip(), far


def _condition(engine: Engine, modality: str) -> Any:
    """Words as text, everything else as a file."""
    if isinstance(kind_of(engine.pipe.collaborators[modality].encoder), Words):
        return gr.Textbox(label=modality)
    return gr.File(label=modality, type="binary")


def _sign(function: Any, defaults: Mapping[str, Any]) -> None:
    """Give a function of any arguments the signature that Gradio reads names and defaults from."""
    names = {name.replace("-", "_"): default for name, default in defaults.items()}
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default) for name, default in names.items()]
    request = Parameter("request", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=gr.Request)
    function.__signature__ = Signature([*parameters, request])
    function.__annotations__ = {"request": gr.Request}
