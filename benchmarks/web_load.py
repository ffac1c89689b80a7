"""How long visitors of the page wait when many come at once: `python -m benchmarks.web_load`.

Starts `codiff web` as a process of its own and lets --clients programs ask it over loopback at the same moment, each
for a picture of its own caption, mask, sketch and seed. Then asks for the same pictures again, one after another:
nobody must be lost, and everybody must get, to the pixel, what he gets alone. Prints seconds from asking to the first
step that is worked on, and to the downloaded picture. The clients share the processor with the server.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio
import numpy as np
from gradio_client import Client, handle_file
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import machine
from codiff.data.faces import ProceduralFaces
from codiff.files import written_aside

COMMAND = [sys.executable, "-c", "import sys; from codiff.main import main; sys.exit(main(sys.argv[1:]))", "web"]
_ADDRESS = re.compile(r"open (http\S+) in a browser")


@dataclass(frozen=True)
class Answer:
    """What one client got.

    Attributes:
        began: seconds from asking to the first step that was worked on.
        seconds: from asking to the downloaded picture.
        pixels: uint8 (h, w, 3).
    """

    began: float
    seconds: float
    pixels: NDArray[np.uint8]


@contextmanager
def served(arguments: argparse.Namespace) -> Iterator[str]:
    """The address of a server that ends with the block; what it says goes to standard error."""
    options = ["--port", "0", "--model", arguments.model, "--workers", arguments.workers, "--queue", arguments.clients]
    process = subprocess.Popen([*COMMAND, *map(str, options)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            print(line, end="", file=sys.stderr)
            found = _ADDRESS.search(line)
            if found:
                break
        else:
            raise SystemExit("the server did not start")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield found[1]
    finally:
        process.terminate()
        process.wait()


def requests_of(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """What the clients ask for: each a drawn face's conditions, and a seed of its own."""
    faces = ProceduralFaces("validation", limit=seed + count)
    asked = []
    for number in range(count):
        conditions: dict[str, Any] = {}
        for modality, value in faces[seed + number].conditions.items():
            if not isinstance(value, str):
                path = folder / f"{modality}-{number}.png"
                Image.fromarray(np.asarray(value)).save(path)
                value = handle_file(str(path))
            conditions[modality] = value
        asked.append({**conditions, "seed": seed + number})
    return asked


def ask(client: Client, asked: dict[str, Any], steps: int) -> Answer:
    """One picture, waited for as a program does."""
    asking = time.perf_counter()
    job = client.submit(**asked, steps=steps, count=1, api_name="/generate")
    began = None
    for *_pictures, progress in job:
        if began is None and isinstance(progress, dict) and "step" in progress:
            began = time.perf_counter() - asking
    pictures, *_others = job.result()
    seconds = time.perf_counter() - asking
    with Image.open(pictures[0]["image"]) as image:
        return Answer(seconds if began is None else began, seconds, np.asarray(image.convert("RGB")))


def all_at_once(
    clients: list[Client], asked: list[dict[str, Any]], steps: int
) -> tuple[list[Answer | None], list[Exception]]:
    """Answers in the order of the clients, None where there was none, and what went wrong."""
    answers: list[Answer | None] = [None] * len(clients)
    errors: list[Exception] = []
    start = threading.Barrier(len(clients))

    def wait(number: int) -> None:
        start.wait()
        try:
            answers[number] = ask(clients[number], asked[number], steps)
        except Exception as error:  # whatever becomes of a client is counted
            errors.append(error)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, errors


def report(together: list[Answer | None], alone: list[Answer], arguments: argparse.Namespace) -> str:
    """A Markdown table, and what was counted."""
    came = [answer for answer in together if answer is not None]
    equal = sum(
        mine is not None and np.array_equal(mine.pixels, other.pixels)
        for mine, other in zip(together, alone, strict=True)
    )
    different = len({answer.pixels.tobytes() for answer in alone})
    last, total = max((answer.seconds for answer in came), default=0.0), sum(answer.seconds for answer in alone)
    lines = [
        f"`{arguments.model}`, {arguments.clients} clients at once, {arguments.workers} worker(s), {arguments.steps} "
        f"steps, seed {arguments.seed}, {machine()}, gradio {gradio.__version__}; one run, no interval",
        "",
        f"{len(together) - len(came)} of {len(together)} lost; {equal} equal to the pixel to what they get alone; "
        f"{different} different pictures. All of them took {last:.0f} s at once, and {total:.0f} s one after another.",
        "",
        "| seconds | median | worst |",
        "|---|---|---|",
    ]
    for name, group in ((f"{arguments.clients} at once", came), ("one after another", alone)):
        for what, values in (
            ("until the first step", [answer.began for answer in group]),
            ("until the picture", [answer.seconds for answer in group]),
        ):
            median = f"{statistics.median(values):.1f} | {max(values):.1f}" if values else "- | -"
            lines.append(f"| {name}, {what} | {median} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and print; exit code 1 where anybody was lost or got another's picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the report there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, served(arguments) as url:
        asked = requests_of(arguments.clients, arguments.seed, Path(home))
        options: dict[str, Any] = {"verbose": False, "analytics_enabled": False, "download_files": f"{home}/pictures"}
        clients = [Client(url, **options) for _ in asked]
        ask(clients[0], asked[0], 2)  # the first picture of a process takes longer
        together, errors = all_at_once(clients, asked, arguments.steps)
        alone = [ask(client, given, arguments.steps) for client, given in zip(clients, asked, strict=True)]
    for error in errors:
        print(f"lost: {type(error).__name__}: {error}", file=sys.stderr)
    text = report(together, alone, arguments)
    print(text, end="")
    if arguments.out is not None:
        with written_aside(arguments.out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    same = all(a is not None and np.array_equal(a.pixels, b.pixels) for a, b in zip(together, alone, strict=True))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
