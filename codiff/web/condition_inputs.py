"""What a form asks for each modality of a model: chosen by the kind of its encoder, never by its name."""

from __future__ import annotations

import base64
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gradio as gr
from PIL import Image

from codiff.errors import InputError
from codiff.image_files import FORMATS, open_image
from codiff.modalities.mask import LabelMaps
from codiff.web.checking import read_conditions
from codiff.web.condition_kinds import Drawing, Labels, Words, kind_of
from codiff.web.engine import Engine
from codiff.web.error_lines import ErrorLines, Updates, notes, said
from codiff.web.field_error import on_the_page
from codiff.web.notices import heard
from codiff.web.painter import mask_painter, sketch_painter
from codiff.web.painting import (
    labels_of,
    lines_of,
    looks_like_photo,
    painted_labels,
    painted_lines,
    png_url,
    uploaded_labels,
    uploaded_lines,
)
from codiff.web.picker import file_picker, picked_content, picked_file
from codiff.web.storage import Storage

QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "trigger_mode": "always_last"}
"""How events run that are over at once and only for people. The last of several counts: left to itself, Gradio drops
what comes while an event is answered, and the page goes on showing what was chosen before."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_TENSORS = (".pt", ".pth")
_FACES = 2**31
_SNAPPED = "snap=True"  # what the reader advises for masks whose colours are a little off
_UNDERLAY = 512  # pixels of a picture below a painter
_CAPTIONS = (
    "This man has a long beard. He is in his sixties.",
    "She is a young woman with a smooth chin.",
    "A man with stubble, in his thirties.",
    "This boy is under twelve. He has no beard.",
)

Data = Mapping[Any, Any]
"""Component -> its value, as Gradio hands over a set of inputs."""


class ConditionInput(ABC):
    """One modality's part of a form: a switch, a value, ways to fill it, and a line for what is wrong.

    Args:
        modality: its name.
        engine: whose model it is for.
        storage: where uploads lie while they are read.
        form: name of the form, which begins all ids.
        on: whether it is switched on at first; as suits its kind without.
    """

    hint: ClassVar[str]
    begins_on: ClassVar[bool] = True

    def __init__(self, modality: str, engine: Engine, storage: Storage, form: str, *, on: bool | None = None) -> None:
        self.modality = modality
        self.engine = engine
        self.storage = storage
        self.encoder = engine.pipe.collaborators[modality].encoder
        self.name = f"{form}-{modality}"
        self.title = modality.replace("_", " ").replace("-", " ").capitalize()
        self._on = self.begins_on if on is None else on

    def place(self, errors: ErrorLines, filled_with: Any = None) -> None:
        """Put it here on the page.

        Args:
            errors: gets the line for what is wrong.
            filled_with: a raw condition to begin with.
        """
        with gr.Column(elem_classes="condition", elem_id=self.name, min_width=280):
            self.switch = gr.Checkbox(
                self._on, label=self.title, info=self.hint, elem_classes="switch", container=False, interactive=True
            )
            with gr.Column(elem_classes="body"):
                self.value = self._placed(self._empty if filled_with is None else self._shown(filled_with))
                self.line = errors.place(self.modality)
        self._wire()

    _empty: Any = ""

    @property
    def components(self) -> list[Any]:
        """What holds the condition: the switch and the value."""
        return [self.switch, self.value]

    def given(self, data: Data) -> dict[str, Any]:
        """The condition by its modality; nothing where it is switched off.

        Raises:
            FieldError: it is none of this kind.
        """
        if not data[self.switch]:
            return {}
        try:
            return {self.modality: self._read(data[self.value])}
        except InputError as error:
            raise on_the_page(self.modality, error) from error

    def filled(self, raw: Any) -> Updates:
        """Updates that show a condition as a request holds it, and nothing else; None switches this modality off."""
        if raw is None:
            return {self.switch: False, self.line: ""}
        return {self.switch: True, self.value: self._shown_alone(raw), self.line: ""}

    @abstractmethod
    def _placed(self, value: Any) -> Any:
        """The component that holds the value, put here on the page with whatever fills it."""

    @abstractmethod
    def _read(self, value: Any) -> Any:
        """The raw condition of the component's value."""

    def _shown(self, raw: Any) -> Any:
        """The component's value for a raw condition."""
        return raw

    def _shown_alone(self, raw: Any) -> Any:
        """An update of the component to a raw condition."""
        return self._shown(raw)

    def _wire(self) -> None:  # noqa: B027  (some have nothing that fills them)
        """Say what fills the value."""

    def _filled_by(self, work: Callable[[], Any]) -> tuple[Any, str]:
        """Updates of the value and of the line: what `work` returned and was told, or what is wrong."""
        try:
            with heard() as told:
                value = work()
        except InputError as error:
            return gr.skip(), said(str(on_the_page(self.modality, error)))
        return value, notes(told)


class CaptionInput(ConditionInput):
    """Words, with examples."""

    hint = "A sentence about the face, such as its beard and age."

    def _placed(self, value: str) -> gr.Textbox:
        box = gr.Textbox(
            value,
            label=self.title,
            show_label=False,
            placeholder=_CAPTIONS[0],
            lines=2,
            max_lines=4,
            max_length=self.engine.limits.text,
            elem_id=f"{self.name}-value",
            container=False,
        )
        self._examples = gr.Dataset(
            components=[gr.Textbox(visible=False)],
            samples=[[caption] for caption in _CAPTIONS],
            label="Captions to try",
            elem_id=f"{self.name}-examples",
            elem_classes="captions",
        )
        return box

    def _wire(self) -> None:
        self._examples.click(lambda sample: sample[0], self._examples, self.value, **QUIET)
        self.value.blur(self._adapted, self.value, self.line, **QUIET)

    def _adapted(self, value: Any) -> Any:
        """How words are adapted, told as soon as they are written: a line that came with a run would move the page."""
        if not str(value or "").strip():
            return gr.skip()
        given = {self.modality: str(value)}
        return self._filled_by(lambda: read_conditions(self.engine.pipe, given, self.engine.limits))[1]

    def _read(self, value: Any) -> str:
        text = str(value or "")
        if not text.strip():
            raise InputError(f"{self.modality}: it is empty; write a caption, or switch the {self.modality} off")
        return text


class PaintedInput(ConditionInput):
    """What painters share: a drawn face or a file can fill them."""

    upload: ClassVar[str]
    upload_hint: ClassVar[str]
    upload_wanted: ClassVar[str]
    endings: ClassVar[tuple[str, ...]] = PICTURES

    def _place_fillers(self) -> None:
        self._random = gr.Button(
            "Random face", size="sm", min_width=80, elem_classes="filler", elem_id=f"{self.name}-random"
        )
        self._file = file_picker(
            self.upload, self.upload_hint, self.endings, self.engine.limits, elem_id=f"{self.name}-upload"
        )

    def _place_options(self) -> None:
        self._letterbox = gr.Checkbox(
            False, label="Pad to a square", info="For files that are not square", container=False
        )

    @property
    def _options(self) -> list[Any]:
        return [self._letterbox]

    def _wire(self) -> None:
        outputs = [self.value, self.line]
        self._random.click(self._drawn, None, outputs, **QUIET)
        self._file.upload(self._uploaded, [self._file, *self._options], outputs, **QUIET)
        for place, option in enumerate(self._options):
            option.input(self._again(place), [self._file, self.value, *self._options], outputs, **QUIET)

    def _drawn(self) -> tuple[Any, str]:
        def work() -> Any:
            face = self.engine.procedural(secrets.randbelow(_FACES))
            return self._shown_alone(face.conditions(self.engine.pipe)[self.modality])

        return self._filled_by(work)

    def _shown_alone(self, raw: Any) -> Any:
        return gr.update(value=self._shown(raw), underlay="")

    def _uploaded(self, file: Any, request: gr.Request, *options: bool) -> tuple[Any, str]:
        def work() -> Any:
            folder = self.storage.session(request.session_hash)
            turn = self.engine.reading.turn(self.modality)
            with turn, picked_file(file, folder, self.engine.limits, self.upload_wanted) as path:
                return gr.update(value=self._loaded(path, *options), underlay="")

        return self._filled_by(work)

    def _again(self, place: int) -> Callable[..., tuple[Any, Any]]:
        """What to do when the option at this place changes."""

        def uploaded(file: Any, value: Any, request: gr.Request, *options: bool) -> tuple[Any, Any]:
            """The same file, where it was refused before or is what the painter still shows."""
            before = [on != (number == place) for number, on in enumerate(options)]
            if not file or self._uploaded(file, request, *before)[0].get("value", value) != value:
                return gr.skip(), gr.skip()
            return self._uploaded(file, request, *options)

        return uploaded

    @abstractmethod
    def _loaded(self, path: Any, *options: bool) -> str:
        """What the painter shows of a file."""


class MaskInput(PaintedInput):
    """A painter of labels; pictures can be turned into labels where the model has a face parser."""

    hint = "Paint which part of the face is where."
    upload = "Upload a mask"
    upload_hint = "A mask file: PNG in these colours or of class numbers, or .pt of the published data"
    upload_wanted = f"a mask: a picture ({', '.join(FORMATS)}) in these colours or of class numbers, or a tensor (.pt)"
    endings = (*PICTURES, *_TENSORS)

    def _placed(self, value: str) -> gr.HTML:
        assert isinstance(self.encoder, LabelMaps)
        with gr.Row(elem_classes="fillers"):
            self._place_fillers()
            if self.engine.parser is not None:
                self._photo = file_picker(
                    "From a picture", "The model's face parser makes the mask", PICTURES, self.engine.limits,
                    elem_id=f"{self.name}-photo",
                )  # fmt: skip
        with gr.Row(elem_classes="options"):
            self._snap = gr.Checkbox(
                False, label="Snap to the nearest colours", info="For masks saved as JPEG or resized", container=False
            )
            self._place_options()
        return mask_painter(self.title, self.encoder.num_classes, value=value, elem_id=f"{self.name}-value")

    @property
    def _options(self) -> list[Any]:
        return [self._letterbox, self._snap]

    def _wire(self) -> None:
        super()._wire()
        if self.engine.parser is not None:
            self._photo.upload(self._parsed, self._photo, [self.value, self.line], **QUIET)

    def _parsed(self, file: Any) -> tuple[Any, str]:
        def work() -> Any:
            content = picked_content(file, self.engine.limits)[1]
            labels, told = self.engine.parse(content)
            with self.engine.reading.turn(self.modality, patient=True):
                below = _underlay(content)
            return gr.update(value=self._shown(labels), underlay=below), told

        value, line = self._filled_by(work)
        return (value[0], line + notes(value[1])) if isinstance(value, tuple) else (value, line)

    def _read(self, value: Any) -> Any:
        return labels_of(value)

    def _shown(self, raw: Any) -> str:
        return painted_labels(raw, self.engine.limits.painter_side)

    def _loaded(self, path: Any, *options: bool) -> str:
        letterbox, snap = options
        most = self.engine.limits.painter_side
        try:
            labels = uploaded_labels(path, snap=snap, letterbox=letterbox, most=most)
        except InputError as error:
            if _SNAPPED in str(error) or not looks_like_photo(path):
                raise
            remedy = '"From a picture" makes a mask of it' if self.engine.parser is not None else "paint a mask instead"
            raise InputError(f"this looks like a photo, not like a mask: {remedy}. ({error})") from error
        return painted_labels(labels, most)


class SketchInput(PaintedInput):
    """A pad for line drawings."""

    hint = "Draw the outlines."
    begins_on = False
    upload = "Upload a drawing"
    upload_hint = "A picture of lines: dark on light, light on dark, or on transparent ground"
    upload_wanted = f"a picture of lines ({', '.join(FORMATS)})"

    def _placed(self, value: str) -> gr.HTML:
        with gr.Row(elem_classes="fillers"):
            self._place_fillers()
        with gr.Row(elem_classes="options"):
            self._place_options()
        return sketch_painter(self.title, value=value, elem_id=f"{self.name}-value")

    def _read(self, value: Any) -> Image.Image:
        return lines_of(value)

    def _shown(self, raw: Any) -> str:
        return painted_lines(raw)

    def _loaded(self, path: Any, *options: bool) -> str:
        (letterbox,) = options
        return painted_lines(uploaded_lines(path, letterbox=letterbox, most=self.engine.limits.painter_side))


class FileInput(ConditionInput):
    """A file of which only the encoder knows what it holds."""

    hint = "A file that the model reads."
    begins_on = False
    _empty = None

    def _placed(self, value: Any) -> gr.HTML:
        return file_picker(
            "Pick a file", self.hint, (), self.engine.limits, value=value, named=True, elem_id=f"{self.name}-value"
        )

    def _read(self, value: Any) -> bytes:
        return picked_content(value, self.engine.limits)[1]

    def _shown(self, raw: bytes) -> dict[str, str]:
        return {"name": f"{self.modality}.bin", "data": base64.b64encode(raw).decode()}


def condition_inputs(engine: Engine, storage: Storage, form: str) -> list[ConditionInput]:
    """One for each modality of the engine's model; at least one of them begins switched on."""
    kinds: dict[type, type[ConditionInput]] = {Words: CaptionInput, Labels: MaskInput, Drawing: SketchInput}
    parts = {}
    for modality in engine.pipe.modalities:
        kind = kind_of(engine.pipe.collaborators[modality].encoder)
        parts[modality] = kinds.get(type(kind), FileInput)
    none = not any(part.begins_on for part in parts.values())
    return [
        part(modality, engine, storage, form, on=True if none and place == 0 else None)
        for place, (modality, part) in enumerate(parts.items())
    ]


def _underlay(content: bytes) -> str:
    """The central square of a picture, as the face parser sees it, small enough for a page."""
    picture = open_image(content, what="photo")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return png_url(square.resize((min(side, _UNDERLAY),) * 2, Image.Resampling.LANCZOS))
