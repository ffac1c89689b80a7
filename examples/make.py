"""Draw the example conditions in this folder: `python examples/make.py`."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from codiff.data.faces import ProceduralFaces
from codiff.modalities.mask import MASK_PALETTE

CHOSEN = {"long-beard": 0, "moustache": 10, "glasses": 18, "beanie": 19, "child": 27, "goatee": 34}  # validation faces
HERE = Path(__file__).parent


def main() -> None:
    """Write a palette mask, a sketch and a line of `conditions.jsonl` for each chosen face."""
    faces = ProceduralFaces("validation", 256)
    lines = []
    for name, item in CHOSEN.items():
        face = faces[item]
        mask = Image.fromarray(face.mask, "P")
        mask.putpalette([value for colour in MASK_PALETTE for value in colour])
        mask.save(HERE / f"mask-{name}.png", optimize=True)
        Image.fromarray(face.sketch).save(HERE / f"sketch-{name}.png", optimize=True)
        row = {
            "name": name,
            "text": face.caption,
            "mask": f"mask-{name}.png",
            "sketch": f"sketch-{name}.png",
            "seed": item,
        }
        lines.append(json.dumps(row))
    (HERE / "conditions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
