"""What programs call: the page's work without the page, with names, defaults and errors that fit in a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from inspect import Parameter, Signature
from typing import Any

import gradio as gr

from codiff.web.condition_kinds import Words, kind_of
from codiff.web.engine import Engine, Request
from codiff.web.field_error import FieldError
from codiff.web.generate_tab import work_event
from codiff.web.runs import Done, Step
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


def build_api(engine: Engine, storage: Storage) -> None:
    """Add the endpoints `/generate` and `/repeat` to the page that is being built.

    Args:
        engine: what draws.
        storage: where the pictures go.
    """
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

    def drawn(made: Callable[[], Request], request: gr.Request) -> Iterator[Any]:
        try:
            checked = engine.check(made())
            with closing(engine.draw(checked, storage.session(request.session_hash))) as events:
                for event in events:
                    if isinstance(event, Done):
                        result = event.result
                        pictures = list(zip(map(str, result.paths), result.captions, strict=True))
                        yield pictures, str(result.archive_path), result.record, {"done": True}
                    elif isinstance(event, Step):
                        yield gr.skip(), gr.skip(), gr.skip(), {"step": event.index, "of": event.of}
                    else:
                        yield gr.skip(), gr.skip(), gr.skip(), {"waiting": event.position}
        except FieldError as error:
            told = str(error) if str(error).startswith(error.field) else f"{error.field}: {error}"
            raise gr.Error(told, print_exception=False) from error

    def generate(*values: Any) -> Iterator[Any]:
        *given, request = values
        names = [*conditions, *settings]
        asked = {name: value for name, value in zip(names, given, strict=True) if value is not None}
        of = {modality: asked.pop(modality) for modality in conditions if modality in asked}
        yield from drawn(lambda: Request(of, **asked), request)

    def repeat(record: Any, request: gr.Request) -> Iterator[Any]:
        yield from drawn(lambda: engine.restore(json.dumps(record)).request, request)

    _sign(generate, {**dict.fromkeys(conditions), **{name: value for name, (_, value) in _SETTINGS.items()}})
    start.click(
        generate, [*conditions.values(), *settings.values()], outputs, api_name="generate", api_description=_GENERATE,
        **work_event(engine),
    )  # fmt: skip
    start.click(repeat, record, outputs, api_name="repeat", api_description=_REPEAT, **work_event(engine))


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
