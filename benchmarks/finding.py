"""How many faces are found in real photos, and how exactly their eyes: `python -m benchmarks.finding PHOTOS`.

PHOTOS is a folder of JPEGs, each of one or more faces. With --marks FILE (JSON: name of the photo -> points in pixels,
the first two of which are the middles of the eyes) the error of the eyes is measured, too, as a share of their
distance.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np

from codiff.errors import InputNotice
from codiff.evaluation.intervals import mean_interval
from codiff.image_files import open_image
from codiff.photos.finding import FoundFace, find_faces


def eye_error(face: FoundFace, marks: list[tuple[float, float]]) -> float:
    """Distance of the worse eye from its mark, as a share of the distance between the marks."""
    truth = np.array(sorted(marks[:2]))
    distances = np.hypot(*(np.array(face.eyes) - truth).T)
    return float(distances.max() / np.hypot(*(truth[1] - truth[0])))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--marks", type=Path)
    arguments = parser.parse_args()
    paths = sorted(arguments.photos.glob("*.jpg"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNotice)
        found = {path.name: find_faces(open_image(path)) for path in paths}
    some = [len(faces) > 0 for faces in found.values()]
    print(f"{len(paths)} photos, a face found in {mean_interval(some).percent()} percent")
    several = sum(len(faces) > 1 for faces in found.values())
    unseen = sum(not face.eyes_seen for faces in found.values() for face in faces)
    print(f"several found in {several}; eyes placed by proportions in {unseen}")
    if arguments.marks is not None:
        marks = json.loads(arguments.marks.read_text(encoding="utf-8"))
        errors = [min(eye_error(face, marks[name]) for face in faces) for name, faces in found.items() if faces]
        shown = mean_interval(errors)
        print(f"eyes off by {shown.percent()} percent of their distance, {100 * max(errors):.1f} at most")


if __name__ == "__main__":
    main()
