"""What a procedural face is made of, and how it is drawn by lot.

Three independent random streams per face keep the modalities complementary: *identity* (colours and bone structure),
*layout* (everything that a mask shows) and *text* (age, beard and gender, which a caption tells). Nothing of the text
stream can therefore be read off the mask.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

AGES = ("child", "young", "thirties-forties", "fifties", "sixties", "seventies")
BEARDS = ("none", "stubble", "moustache", "goatee", "short", "medium", "long")
GENDERS = ("man", "woman")
HAIR_STYLES = ("bald", "buzz", "short", "side-part", "bob", "long", "wavy", "curly")
HATS = ("none", "beanie", "brim", "cap")
GLASSES = ("none", "round", "square")
EARRINGS = ("none", "stud", "hoop", "drop")
NECKLINES = ("crew", "v-neck", "collar", "turtleneck")

_HAIR_STYLE_WEIGHTS = (0.06, 0.09, 0.14, 0.13, 0.15, 0.19, 0.13, 0.11)
_HAT_WEIGHTS = (0.88, 0.04, 0.04, 0.04)
_GLASSES_WEIGHTS = (0.78, 0.11, 0.11)
_EARRING_WEIGHTS = (0.46, 0.18, 0.18, 0.18)
_AGE_WEIGHTS = (0.14, 0.18, 0.17, 0.17, 0.17, 0.17)
_BEARD_WEIGHTS = (0.16, 0.14, 0.14, 0.14, 0.14, 0.14, 0.14)


@dataclass(frozen=True)
class Identity:
    """Colours and light: in the picture alone, neither in the caption nor in the mask. Floats are in [0, 1]."""

    skin: float
    hair: int
    eyes: int
    cloth: int
    background: int
    hair_tint: float
    light: float
    blush: float


@dataclass(frozen=True)
class Layout:
    """What the mask shows. Floats are in [-1, 1] about an average face unless a choice is named."""

    hair_style: str
    fringe: bool
    hat: str
    glasses: str
    earrings: str
    necklace: bool
    neckline: str
    face_width: float
    jaw: float
    chin: float
    hair_volume: float
    hair_length: float
    part: float
    yaw: float
    roll: float
    smile: float
    mouth_open: float
    lips: float
    eye_open: float
    brow_height: float
    brow_thickness: float
    brow_tilt: float
    nose_width: float
    nose_length: float
    neck: float
    shoulders: float


@dataclass(frozen=True)
class Description:
    """What the caption tells."""

    age: str
    beard: str
    gender: str


@dataclass(frozen=True)
class Face:
    """Everything that determines a picture: the same face gives the same pixels. `seed` draws strands and freckles."""

    identity: Identity
    layout: Layout
    description: Description
    seed: str


def _weighted(rng: random.Random, options: Sequence[str], weights: Sequence[float]) -> str:
    point = rng.random() * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        point -= weight
        if point < 0:
            return option
    return options[-1]


def _signed(rng: random.Random) -> float:
    """Triangular on [-1, 1]."""
    return rng.random() + rng.random() - 1.0


def _index(rng: random.Random, count: int) -> int:
    return int(rng.random() * count)


def _sample_identity(rng: random.Random) -> Identity:
    return Identity(
        skin=rng.random(),
        hair=_index(rng, 6),
        eyes=_index(rng, 5),
        cloth=_index(rng, 8),
        background=_index(rng, 6),
        hair_tint=rng.random(),
        light=rng.random(),
        blush=rng.random(),
    )


def _sample_layout(rng: random.Random) -> Layout:
    return Layout(
        hair_style=_weighted(rng, HAIR_STYLES, _HAIR_STYLE_WEIGHTS),
        fringe=rng.random() < 0.3,
        hat=_weighted(rng, HATS, _HAT_WEIGHTS),
        glasses=_weighted(rng, GLASSES, _GLASSES_WEIGHTS),
        earrings=_weighted(rng, EARRINGS, _EARRING_WEIGHTS),
        necklace=rng.random() < 0.045,
        neckline=NECKLINES[_index(rng, len(NECKLINES))],
        face_width=_signed(rng),
        jaw=_signed(rng),
        chin=_signed(rng),
        hair_volume=_signed(rng),
        hair_length=_signed(rng),
        part=2 * rng.random() - 1,
        yaw=_signed(rng),
        roll=_signed(rng),
        smile=2 * rng.random() - 1,
        mouth_open=rng.random() if rng.random() < 0.55 else -1.0,
        lips=_signed(rng),
        eye_open=_signed(rng),
        brow_height=_signed(rng),
        brow_thickness=_signed(rng),
        brow_tilt=_signed(rng),
        nose_width=_signed(rng),
        nose_length=_signed(rng),
        neck=_signed(rng),
        shoulders=_signed(rng),
    )


def _sample_description(rng: random.Random) -> Description:
    gender = "man" if rng.random() < 0.62 else "woman"
    age = _weighted(rng, AGES, _AGE_WEIGHTS)
    beard = _weighted(rng, BEARDS, _BEARD_WEIGHTS)
    if gender == "woman" or age == "child":
        beard = "none"
    return Description(age=age, beard=beard, gender=gender)


def sample_face(index: int, seed: int = 0) -> Face:
    """Face number `index` >= 0 of the endless series `seed`; the same on every machine."""
    if index < 0:
        raise ValueError(f"face index must be >= 0, got {index}")
    # Seeding by text is specified (SHA-512) and independent of hash randomisation, as is random().
    streams = {name: random.Random(f"codiff-face:{seed}:{index}:{name}") for name in ("identity", "layout", "text")}
    return Face(
        identity=_sample_identity(streams["identity"]),
        layout=_sample_layout(streams["layout"]),
        description=_sample_description(streams["text"]),
        seed=f"codiff-face:{seed}:{index}:texture",
    )
