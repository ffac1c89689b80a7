"""What `codiff edit` says of its plan, and of what came of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import codiff
from codiff.cli.edit_drawing import Done
from codiff.cli.edit_editors import AUTO
from codiff.cli.edit_plan import Plan, Wanted
from codiff.cli.show import tell
from codiff.editing import Learned, Learning
from codiff.editing.diffedit import NOWHERE
from codiff.editing.strength import told


def tell_plan(plan: Plan) -> None:
    """Before the work, on standard error."""
    wanted = plan.wanted
    strength = AUTO if wanted.strengths is None else told(wanted.strengths)
    conditions = ", ".join(plan.described)
    tell(f"{wanted.editor} towards {conditions}, {wanted.kind.strength} {strength}: {plan.settings}")
    if plan.learned is None:
        _tell_nothing(wanted, plan.settings.steps)
        return
    if not plan.learned.exists():
        assert wanted.learning is not None
        tell(f"learning the photo: {_steps(wanted.learning, len(plan.described))}, into {plan.learned}")
        return
    known = Learned.load(plan.learned)
    if known.finished:
        tell(f"the photo is learned already: {plan.learned}")
    else:
        tell(f"going on with learning the photo at step {known.done} of {known.total}: {plan.learned}")


def _tell_nothing(wanted: Wanted, steps: int) -> None:
    """Say so where a strength is so small that no step is taken."""
    if wanted.strengths is not None and 0 < max(wanted.strengths.values()) < 0.5 / steps:
        tell(f"note: this strength takes none of {steps} steps: nothing is edited below {1 / steps:g}")


def _steps(learning: Learning, modalities: int) -> str:
    groups = 1 if learning.together else modalities
    return f"{groups * (learning.token_steps + learning.model_steps)} steps"


def tell_done(plan: Plan, done: Done, seconds: float) -> None:
    """After the work, on standard error."""
    for name, value in done.measured.items():
        tell(f"{name.replace('_', ' ')}: {value:.3g}")
    if done.measured.get("edited_share") == 0:
        tell(f"note: {NOWHERE}; say more of what the photo shows (--source), or where it may change (--region)")
    if done.search is not None:
        best = done.search.best
        if not done.search.decided:
            tell("the judge sees no difference between these strengths: the usual one is taken")
        tell(f"{plan.wanted.kind.strength} {told(best.strengths)}: obeys {best.obeys:.2f}, keeps {best.identity:.2f}")
        tell(f"wrote {plan.extra('curve')} and {plan.extra('strip')}")
    tell(f"wrote {plan.outputs.grid}")
    learning = f", {done.learning} s of them learning" if done.learning else ""
    tell(f"{plan.wanted.count} images in {seconds} s{learning}, all in {plan.outputs.folder}")


def summary(plan: Plan, done: Done) -> dict[str, Any]:
    """What --json prints."""
    search = None
    if done.search is not None:
        trials = [
            {"strengths": trial.strengths, "agreement": trial.agreement, "identity": trial.identity}
            for trial in (*done.search.common, *done.search.varied)
        ]
        search = {"trials": trials, "curve": str(plan.extra("curve")), "strip": str(plan.extra("strip"))}
    return {
        "codiff": codiff.__version__,
        "editor": plan.wanted.editor,
        "strengths": done.strengths,
        "settings": asdict(plan.settings),
        "measured": done.measured,
        "seconds": {"learning": done.learning, "sampling": done.sampling},
        "search": search,
        "learned": None if plan.learned is None else str(plan.learned),
        **plan.outputs.listing(),
    }
