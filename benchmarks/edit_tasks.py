"""Edits of drawn faces whose right answer is known: the same person, drawn with another description or layout."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codiff import CollaborativePipeline, generators
from codiff.data.face_attributes import AGES, BEARDS, EARRINGS, GLASSES, HAIR_STYLES, HATS, Description, Face
from codiff.data.face_captions import caption
from codiff.data.face_renderer import render
from codiff.data.faces import FaceExample
from codiff.editing import Edit, Sampling
from codiff.editing.editors import EDITORS
from codiff.editing.imagic import INVERSION

KINDS = {"text": ("text",), "mask": ("mask",), "both": ("text", "mask")}
"""What the target tells: the caption, the mask, or both."""


@dataclass(frozen=True)
class Task:
    """One edit of one face.

    Attributes:
        name: for files and rows.
        before: the face as it is.
        after: the same person with the new description and layout.
        modalities: which of them the target tells.
    """

    name: str
    before: FaceExample
    after: FaceExample
    modalities: tuple[str, ...]

    @property
    def target(self) -> dict[str, Any]:
        """What the edit is told."""
        return {modality: self.after.conditions[modality] for modality in self.modalities}

    @property
    def source(self) -> dict[str, Any]:
        """What the photo shows, of the same modalities."""
        return {modality: self.before.conditions[modality] for modality in self.modalities}


def task_of(name: str, before: FaceExample, *, description: Description | None = None, **layout: Any) -> Task:
    """The edit of a kind of `KINDS` towards a description and a layout, each as before where it is not given."""
    description = description or before.face.description
    face: Face = replace(before.face, description=description, layout=replace(before.face.layout, **layout))
    drawn = render(face, before.image.shape[0])
    after = FaceExample(drawn.image, drawn.mask, drawn.sketch, caption(face), face)
    return Task(name, before, after, KINDS[name])


def drawn_by_lot(before: FaceExample, seed: int) -> dict[str, Task]:
    """One task of each kind. The description gets another age and, where the gender and the age allow any, another
    beard; the layout another hair style, another smile, and glasses, hat and earrings by lot. Caption and mask of the
    task of both are those of the two others.
    """
    lot = random.Random(f"codiff-edit:{seed}")
    description = _other_description(before.face.description, lot)
    own = before.face.layout
    layout: dict[str, Any] = {
        "hair_style": _other(HAIR_STYLES, own.hair_style, lot),
        "glasses": lot.choice(GLASSES),
        "hat": lot.choice(HATS) if lot.random() < 0.2 else "none",
        "earrings": lot.choice(EARRINGS),
        "smile": -own.smile,
    }
    return {
        "text": task_of("text", before, description=description),
        "mask": task_of("mask", before, **layout),
        "both": task_of("both", before, description=description, **layout),
    }


def lacks_region(name: str, task: Task) -> bool:
    """Whether the editor must be told a region, and the task tells none."""
    return EDITORS[name].confined and "mask" not in task.modalities


def edited(
    pipe: CollaborativePipeline, name: str, task: Task, *, learned: Path, sampling: Sampling, **options: Any
) -> Edit:
    """One image by an editor of `EDITORS` as `codiff edit` has it.

    Args:
        learned: the file of what is learned of the photo; read where it exists, else written.
        options: of the editor.
    """
    editor = EDITORS[name]
    given: dict[str, Any] = {"generator": generators(0, 1), "sampling": sampling, **options}
    if "source" in editor.takes:
        given["source"] = task.source
    if editor.learns:
        given |= {"save_to": learned, "start": INVERSION, "learned": learned if learned.exists() else None}
    return editor.edit(pipe, task.before.image, task.target, **given)


def _other_description(own: Description, lot: random.Random) -> Description:
    age = _other(AGES[1:], own.age, lot)  # a child is another person
    beard = _other(BEARDS, own.beard, lot) if own.gender == "man" else own.beard
    return replace(own, age=age, beard=beard)


def _other(choices: tuple[str, ...], own: str, lot: random.Random) -> str:
    return lot.choice([choice for choice in choices if choice != own])
