"""`codiff study`: asking people which pictures they prefer, and what they answered."""

from __future__ import annotations

import importlib
import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from codiff.cli.generate import GUIDANCE
from codiff.cli.modality_options import DEFAULT_MODEL
from codiff.cli.outputs import check_writable
from codiff.cli.show import tell
from codiff.errors import InputError
from codiff.files import written_aside
from codiff.study.answers import read_all
from codiff.study.checks import allowed, chance_of_passing
from codiff.study.folders import Folders
from codiff.study.key import read_key
from codiff.study.making import KEY, Study, make_study
from codiff.study.questions import QUESTIONS

study = typer.Typer(help="Ask people which pictures they prefer, blinded and balanced.")

_DRAWN = 25  # conditions, where nothing else is said
_LARGE = 30_000_000  # bytes of a page; phones take long to load more
_MANY = 250  # choices; few people stay attentive for more


def _material(help_text: str, metavar: str) -> Any:
    return typer.Option(help=help_text, metavar=metavar, rich_help_panel="Material", show_default=False)


def _drawn(help_text: str, **kwargs: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Drawn by a model, without --images", **kwargs)


@study.command()
def make(
    images: Annotated[
        Path | None, _material("Holds a folder for each method, with equally named pictures.", "FOLDER")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where page and key go.", metavar="FOLDER")] = Path("study"),
    captions: Annotated[Path | None, _material("JSON or JSON lines: picture's name and caption.", "FILE")] = None,
    masks: Annotated[Path | None, _material("Masks, named as the pictures.", "FOLDER")] = None,
    originals: Annotated[Path | None, _material("Of edits: the pictures before.", "FOLDER")] = None,
    methods: Annotated[
        str | None, _material("Folders to compare, as a,b,c; without: all. Without --images: rules to draw.", "NAMES")
    ] = None,
    model: Annotated[str, _drawn("demo, a model's folder, or a hub id.", metavar="NAME")] = DEFAULT_MODEL,
    guidance: Annotated[
        float | None, _drawn(f"Of every method; {GUIDANCE:g} where the model allows it.", show_default=False)
    ] = None,
    protocol: Annotated[str, _drawn("Whose conditions and steps.", metavar="NAME")] = "demo-3000",
    data: Annotated[Path | None, _drawn("CelebA-HQ, for its protocols.", metavar="FOLDER", show_default=False)] = None,
    device: Annotated[str | None, _drawn("cpu, cuda, ...", metavar="NAME", show_default=False)] = None,
    conditions: Annotated[
        int | None,
        typer.Option(help=f"So many, drawn by the seed; without: all, or {_DRAWN} to draw.", show_default=False),
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help=f"{','.join(QUESTIONS)}; without: all that have their material.", show_default=False
        ),
    ] = None,
    checks: Annotated[int, typer.Option(help="Attention checks of each participant.")] = 8,
    allowed_failures: Annotated[
        float, typer.Option(help="Share of the checks that may be failed; who fails more is excluded.")
    ] = 0.2,
    notice: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Text shown first: who asks, what for, whom to write to.", show_default=False
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Longest side of a picture on the page, 32 to 2048 pixels.")] = 512,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of all random choices; keep it secret. Without: one that nobody can guess, and 0 for which "
            "conditions are taken.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a page on which people choose between methods' pictures, and the key to its opaque names.

    The pictures come from --images; or they are drawn by a model, by the rules and single models that --methods names
    (as codiff evaluate does), and then lie in the folder material beside the page.

    The page is one file that loads and sends nothing: hand it out, or put it on any web server. Participants save their
    answers as a file and hand that in. Keep the key to yourself.
    """
    check_writable(out)
    secret = _secret_seed(out) if seed is None else seed
    if images is not None:
        material = Folders(images, _names(methods), captions, masks, originals).conditions(conditions, seed or 0)
    else:
        given = {"captions": captions, "masks": masks, "originals": originals}
        drawing = _drawing([f"--{name}" for name, value in given.items() if value is not None], methods, guidance)
        count = _DRAWN if conditions is None else conditions
        wanted = drawing.Drawn(model, _names(methods), count, seed or 0, guidance, protocol, data, device)
        material = drawing.draw_material(wanted, out / "material").conditions()
    made = make_study(
        material,
        questions=_names(questions),
        checks=checks,
        allowed_failures=allowed_failures,
        seed=secret,
        size=size,
        notice="" if notice is None else _text(notice),
    )
    page, key = made.write(out)
    _tell_of(made)
    tell(f"{page}: {page.stat().st_size / 1e6:.1f} MB, for participants")
    tell(f"{key}: not for participants; codiff study analyse needs it")


def _secret_seed(out: Path) -> int:
    """That of the study that lies there, so that the same command makes the same one, or a new one."""
    key = out / KEY
    return read_key(key).seed if key.is_file() else secrets.randbits(64)


def _drawing(given: Sequence[str], methods: str | None, guidance: float | None) -> Any:
    """The module that draws, after a look at the options."""
    if methods is None:
        raise InputError("give --images, a folder of pictures for each method, or --methods, rules to draw with")
    if given:
        raise InputError(f"{', '.join(given)} belongs to --images, the folder of pictures; without it they are drawn")
    if guidance is not None and not math.isfinite(guidance):
        raise InputError(f"guidance must be a finite number, not {guidance}")
    try:
        return importlib.import_module("codiff.cli.study_material")
    except ModuleNotFoundError as error:
        raise InputError(f"this needs the library {error.name}: pip install 'codiff[eval]'") from error


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _tell_of(made: Study) -> None:
    """What participants are asked, and what may go wrong with that."""
    key, size = made.key, len(made.page.encode())
    checks = len(key.checks())
    pairs = len(key.methods) * (len(key.methods) - 1) // 2
    tell(
        f"study {key.study}: {', '.join(key.methods)}; {', '.join(key.questions)}; "
        f"{len(key.trials) - checks} choices ({pairs} {'pair' if pairs == 1 else 'pairs'}) and {checks} checks, "
        f"about {made.minutes()} min"
    )
    if checks:
        passing = 100 * chance_of_passing(checks, key.allowed_failures)
        most = allowed(checks, key.allowed_failures)
        tell(f"who fails more than {most} of {checks} checks is excluded; {passing:.1f}% of those who guess would pass")
    if len(key.trials) > _MANY:
        tell(f"note: {len(key.trials)} choices are many; ask fewer questions, or of fewer methods or conditions")
    if size > _LARGE:
        tell(f"note: the page has {size / 1e6:.0f} MB, much for a phone; lower --size or --conditions")


@study.command()
def analyse(
    answers: Annotated[
        list[Path], typer.Argument(metavar="ANSWERS", help="Files that participants handed in.", show_default=False)
    ],
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The study's key.json; without: beside the answers, or one folder up.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a report.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the report, as Markdown.", show_default=False)
    ] = None,
) -> None:
    """Preference rates with Wilson intervals and sign tests, of all who passed the attention checks."""
    try:
        from codiff.study.analysis import analyse as analyse_answers
        from codiff.study.report import markdown
    except ModuleNotFoundError as error:
        raise InputError(f"this needs the library {error.name}: pip install 'codiff[eval]'") from error
    if out is not None:
        check_writable(out.parent)
        if out.is_dir():
            raise InputError(f"{out} is a folder; give the name of a file")
    place = key or _key_near(answers)
    known = read_key(place)
    given = [path for path in answers if path.resolve() != place.resolve()]  # "*.json" takes the key along
    found, copies = read_all(given, known)
    analysis = analyse_answers(found, known, copies=copies)
    report = markdown(analysis, {name: question.ask for name, question in QUESTIONS.items()})
    typer.echo(json.dumps(asdict(analysis), indent=2, ensure_ascii=False) if as_json else report, nl=as_json)
    if out is not None:
        with written_aside(out) as temporary:
            temporary.write_text(report, encoding="utf-8")
        tell(f"wrote {out}")


def _key_near(answers: Sequence[Path]) -> Path:
    """The key in the folder of the answers, in the one above, or in the working folder."""
    home = answers[0].absolute().parent
    places = [folder / KEY for folder in (home, home.parent, Path.cwd())]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"no {KEY} lies beside the answers, in {home} or {home.parent}; give it by --key")
