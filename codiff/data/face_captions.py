"""Captions of procedural faces: a small grammar about beard and age, and nothing else.

CelebA-Dialog (Jiang et al., ICCV 2021) describes faces in this manner; the sentences here are codiff's own.
"""

from __future__ import annotations

import random

from codiff.data.face_attributes import Description, Face

_NOUNS = {
    ("man", "child"): ("boy", "young boy", "little boy"),
    ("woman", "child"): ("girl", "young girl", "little girl"),
    ("man", "young"): ("man", "young man", "guy", "gentleman"),
    ("woman", "young"): ("woman", "young woman", "lady"),
    ("man", "seventies"): ("man", "old man", "gentleman", "guy"),
    ("woman", "seventies"): ("woman", "old woman", "lady"),
}
_DEFAULT_NOUNS = {"man": ("man", "guy", "gentleman"), "woman": ("woman", "lady")}

_AGE_PHRASES = {
    "child": ("a child", "a small child", "still a kid", "less than twelve years old", "under twelve"),
    "young": ("in {his} twenties", "a teenager", "in {his} teens", "about twenty years old", "a young adult"),
    "thirties-forties": ("in {his} thirties", "in {his} forties", "about forty years old", "around thirty five"),
    "fifties": ("in {his} fifties", "about fifty years old", "around fifty five", "past fifty"),
    "sixties": ("in {his} sixties", "about sixty years old", "around sixty five", "past sixty"),
    "seventies": ("in {his} seventies", "over seventy years old", "about seventy", "an elderly person"),
}

_BEARD_PHRASES = {
    "none": ("no beard", "no beard at all", "a clean shaven face", "a smooth chin without any beard"),
    "stubble": ("stubble", "a light stubble", "a few days of stubble", "a stubbly chin"),
    "moustache": ("a moustache", "just a moustache", "a moustache but no beard", "a neat moustache"),
    "goatee": ("a goatee", "a small goatee", "a goatee on the chin", "a neat goatee"),
    "short": ("a short beard", "a short full beard", "a trimmed beard", "a short boxed beard"),
    "medium": ("a medium beard", "a beard of medium length", "a medium length beard", "a full beard of medium length"),
    "long": ("a long beard", "a very long beard", "a long flowing beard", "a beard that is really long"),
}

_TEMPLATES = (
    "This {noun} has {beard}. {He} is {age}.",
    "The {noun} in the picture has {beard}. {He} is {age}.",
    "{He} is {age}. {He} has {beard}.",
    "The {noun} has {beard}, and {he} is {age}.",
    "This {noun} is {age} and has {beard}.",
    "A {noun} with {beard}, {age}.",
    "This is a {noun} with {beard}. The {noun} is {age}.",
    "{He} has {beard}. The {noun} looks {age}.",
    "The {noun} we see here is {age} and wears {beard}.",
    "There is {beard} on {his} face. This {noun} is {age}.",
)


def _pick(rng: random.Random, options: tuple[str, ...]) -> str:
    return options[int(rng.random() * len(options))]


def describe(description: Description, rng: random.Random) -> str:
    """One caption out of the many that say the same of beard, age and gender."""
    male = description.gender == "man"
    nouns = _NOUNS.get((description.gender, description.age), _DEFAULT_NOUNS[description.gender])
    pronouns = {"he": "he", "his": "his", "He": "He"} if male else {"he": "she", "his": "her", "He": "She"}
    return _pick(rng, _TEMPLATES).format(
        noun=_pick(rng, nouns),
        beard=_pick(rng, _BEARD_PHRASES[description.beard]),
        age=_pick(rng, _AGE_PHRASES[description.age]).format(**pronouns),
        **pronouns,
    )


def caption(face: Face, variant: int = 0) -> str:
    """The face's caption number `variant`; variant 0 is the one that data sets record."""
    return describe(face.description, random.Random(f"{face.seed}:caption:{variant}"))
