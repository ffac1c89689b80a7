"""Draw the pictures of docs/steering.md: `python -m benchmarks.steering_pictures`. Look at them before committing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.pictures import GUIDANCE, STEPS, asked, captioned, condition_pictures, save
from codiff import CollaborativePipeline, InfluenceBias, generators
from codiff.data.faces import FaceExample
from codiff.evaluation.disagreement import Listener, disagreement
from codiff.figures import PAPER, below, beside, colours_of, curves, on_paper, words
from codiff.web.inside import conflict_maps, influence_maps

STEERED = "mask"
PAIRS = ((0, 10), (10, 3), (27, 34))  # validation faces: one gives the mask, the other one all else
NATS = 3.0
HALVES = np.array([[NATS] * 8 + [-NATS] * 8])  # (1, 16)
EARLY, LATE = [(0.6, 1), (0.5, 0)], [(0.6, 0), (0.5, 1)]
WIDTH = 224  # pixels of a column


@dataclass(frozen=True)
class Drawn:
    """One picture and what went on inside.

    Attributes:
        image: the picture.
        influences: modality -> (steps, 1, 1, h, w).
        conflict: (steps, 1, h, w).
    """

    image: Image.Image
    influences: dict[str, Tensor]
    conflict: Tensor


def draw(pipe: CollaborativePipeline, conditions: dict[str, Any], bias: InfluenceBias | None) -> Drawn:
    """A picture of these conditions, always from the same noise."""
    listener, composition = Listener(pipe.scheduler, images=1), pipe.learned_composition()
    output = pipe(
        conditions,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        composition=listener.hearing(composition if bias is None else composition.steered(bias)),
        generator=generators(0, 1),
        return_influences=True,
    )
    influences = output.influences or {}
    return Drawn(output.images[0], influences, disagreement(influences, listener.foreseen))


def at_odds(pipe: CollaborativePipeline, face: FaceExample, other: FaceExample) -> dict[str, Any]:
    """Conditions of one face, but the mask of another."""
    return {m: (other if m == STEERED else face).conditions[m] for m in pipe.modalities}


def places(
    pipe: CollaborativePipeline, pairs: list[tuple[FaceExample, FaceExample]]
) -> tuple[Image.Image, Drawn, Drawn]:
    """One row a pair: the mask as learned, lowered, raised, and both at once; the first pair's ends."""
    variants = {
        "as learned": None,
        f"{STEERED} -{NATS:g}": InfluenceBias({STEERED: -NATS}),
        f"{STEERED} +{NATS:g}": InfluenceBias({STEERED: NATS}),
        f"+{NATS:g} left, -{NATS:g} right": InfluenceBias(maps={STEERED: HALVES}),
    }
    rows, kept = [], []
    for face, other in pairs:
        conditions = at_odds(pipe, face, other)
        drawn = [draw(pipe, conditions, bias) for bias in variants.values()]
        rows.append([*condition_pictures(pipe, conditions, face.image.shape[0]), *(each.image for each in drawn)])
        kept += [drawn[0], drawn[-1]]
    shown = [""] * (len(rows[0]) - len(variants))
    return captioned(rows, [face.caption for face, _ in pairs], [*shown, *variants]), kept[0], kept[1]


def times(pipe: CollaborativePipeline, conditions: dict[str, Any], learned: Drawn) -> Image.Image:
    """The mask raised always, early and late, above the mean influences over the steps."""
    moments = {"always": None, "in the first steps": EARLY, "in the last steps": LATE}
    columns = {"as learned": learned}
    for name, curve in moments.items():
        bias = InfluenceBias({STEERED: NATS}, curves={} if curve is None else {STEERED: curve})
        columns[f"{STEERED} +{NATS:g} {name}"] = draw(pipe, conditions, bias)
    return beside([_column(name, drawn, colours_of(pipe.modalities)) for name, drawn in columns.items()], gap=20)


def _column(title: str, drawn: Drawn, colours: dict[str, Any]) -> Image.Image:
    means = {m: steps.mean(dim=(1, 2, 3, 4)).tolist() for m, steps in drawn.influences.items()}
    curve = curves(means, colours, size=(2 * WIDTH, WIDTH), ends=("noise", "image"), letters=22)
    image = drawn.image.resize((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    return below([words(title, WIDTH, centred=True), image, _on_white(curve, WIDTH)], gap=8)


def inside(pipe: CollaborativePipeline, rows: dict[str, Drawn]) -> Image.Image:
    """One row each: the picture, who decided where in the mean of all steps, and where the collaborators disagreed."""
    drawn = []
    for title, each in rows.items():
        maps = influence_maps(each.influences, colours_of(pipe.modalities), 0, None)
        name, conflict = next(iter(conflict_maps(each.conflict, each.image, 0, None).items()))
        height = next(iter(maps.values())).height
        image = each.image.resize((height, height), Image.Resampling.LANCZOS)
        cells = {title: image, **maps, name: conflict}
        drawn.append(
            beside(
                [
                    below([words(caption, picture.width // 3), _on_white(picture, picture.width // 3)], gap=4)
                    for caption, picture in cells.items()
                ],
                gap=12,
            )
        )
    return below(drawn, gap=16)


def _on_white(picture: Image.Image, width: int) -> Image.Image:
    """A picture, clear or not, on paper, scaled to `width`."""
    paper = Image.new("RGBA", picture.size, (*PAPER, 255))
    paper.alpha_composite(picture.convert("RGBA"))
    return paper.convert("RGB").resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


def main() -> None:
    """Draw everything into --out."""
    pipe, dataset, out = asked(__doc__)
    pairs = [(dataset[one], dataset[other]) for one, other in PAIRS]
    picture, learned, halves = places(pipe, pairs)
    save(on_paper(picture), out / "steering-where.png")
    save(on_paper(inside(pipe, {"as learned": learned, "steered": halves})), out / "steering-inside.png")
    save(on_paper(times(pipe, at_odds(pipe, *pairs[0]), learned)), out / "steering-when.png")
    print(f"pictures are in {out}")


if __name__ == "__main__":
    main()
