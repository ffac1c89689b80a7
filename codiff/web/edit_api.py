"""What programs call to edit: the tab's work without the page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import gradio as gr

from codiff.errors import InputError
from codiff.web.condition_kinds import kind_of
from codiff.web.edit_request import DEFAULT_EDITOR, QUICK, EditRequest, Framing
from codiff.web.edit_run import EditRun
from codiff.web.edits import Edits
from codiff.web.eye_marks import marked
from codiff.web.field_error import FieldError, on_the_page
from codiff.web.generate_tab import work_event
from codiff.web.runs import Done, Step
from codiff.web.storage import Storage

_DESCRIPTION = """Edit the face in a photo towards the given conditions.

The photo is a file; who cannot upload gives its content in base64 as photo_base64 instead. Conditions are an object,
as {"text": "A young woman."}: words as they are, pictures as PNG in base64.
None for strength finds it; None for eyes, two places as shares of the photo's width and height, finds the face.
Returns the pictures, a zip file of pictures, conditions and settings, the settings, and how far the work is."""


def build_edit_api(edits: Edits, storage: Storage) -> None:
    """Add the endpoint `/edit` to the page that is being built.

    Args:
        edits: what edits.
        storage: where pictures go, and what is learned of photos.
    """
    engine = edits.engine

    def edit(
        photo: bytes | None = None,
        conditions: dict[str, str] | None = None,
        editor: str = DEFAULT_EDITOR,
        strength: float | None = None,
        learning: str = QUICK,
        eyes: list[list[float]] | None = None,
        aligned: bool = False,
        seed: int = 0,
        count: int = 1,
        steps: int = edits.usual.steps,
        guidance: float | None = None,
        photo_base64: str | None = None,
        request: gr.Request = None,  # Gradio fills it in
    ) -> Iterator[Any]:
        session = storage.session(request.session_hash)
        try:
            asked = EditRequest(
                _content(photo, photo_base64),
                _conditions(edits, conditions),
                Framing(marked(eyes), aligned=aligned is True),
                editor,
                strength,
                learning=learning,
                seed=seed,
                count=count,
                steps=steps,
                guidance=guidance,
            )
            run = EditRun(engine, edits.check(asked, session), session, previews=False)
            with closing(run.events()) as events:
                for event in events:
                    if isinstance(event, Done):
                        result = event.result
                        pictures = [(str(view.path), view.caption) for view in result.views]
                        yield pictures, str(result.archive_path), result.record, {"done": True}
                    elif isinstance(event, Step):
                        yield gr.skip(), gr.skip(), gr.skip(), {"step": event.index, "of": event.of}
                    else:
                        yield gr.skip(), gr.skip(), gr.skip(), {"waiting": event.position}
        except FieldError as error:
            told = str(error) if str(error).startswith(error.field) else f"{error.field}: {error}"
            raise gr.Error(told, print_exception=False) from error

    with gr.Column(visible=False):
        inputs: list[Any] = [gr.File(label="photo", type="binary"), gr.JSON(label="conditions")]
        inputs += [gr.Textbox(DEFAULT_EDITOR, label="editor"), gr.Number(None, label="strength")]
        inputs += [gr.Textbox(QUICK, label="learning"), gr.JSON(label="eyes"), gr.Checkbox(label="aligned")]
        inputs += [gr.Number(0, label="seed"), gr.Number(1, label="count"), gr.Number(edits.usual.steps, label="steps")]
        inputs += [gr.Number(None, label="guidance"), gr.Textbox(label="photo_base64")]
        outputs = [
            gr.Gallery(label="pictures", format="png"),
            gr.File(label="archive"),
            gr.JSON(label="record"),
            gr.JSON(label="progress"),
        ]
        gr.Button().click(edit, inputs, outputs, api_name="edit", api_description=_DESCRIPTION, **work_event(engine))


def _content(photo: Any, text: Any) -> bytes:
    if isinstance(photo, bytes):
        return photo
    if not isinstance(text, str) or not text:
        raise FieldError("photo", "a photo is expected: its file, as handle_file(path)")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FieldError("photo", f"photo_base64 is not base64 ({error})") from error


def _conditions(edits: Edits, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
        raise FieldError("conditions", "an object of modality and text is expected")
    pipe, conditions = edits.engine.pipe, {}
    for modality, text in given.items():
        if modality not in pipe.modalities:
            known = ", ".join(pipe.modalities)
            raise FieldError("conditions", f"this model takes {known}, not {modality!r:.40}")
        try:
            conditions[modality] = kind_of(pipe.collaborators[modality].encoder).restored(text)
        except InputError as error:
            raise on_the_page(modality, error) from error
    return conditions
