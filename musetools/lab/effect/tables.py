"""The effect of preprocessing on a model in tables."""

from itertools import product

from musetools.lab.effect.answer import Effect
from musetools.lab.effect.measure import INFERENCE
from musetools.lab.effect.outcome import Outcome
from musetools.recipes.profile import COMMON_FPS
from musetools.table import Table, signed

__all__ = ["agreement_table", "difference_table", "outcome_table"]


def outcome_table(effect: Effect) -> Table:
    """Make a table of every recipe at every frame rate.

    Parameters
    ----------
    effect : Effect
        What `evaluate` returned.

    Returns
    -------
    Table
    """
    head = ["recipe", "fps", "trained on", "R²", "error", "first second", "last second"]
    head += ["delay in ms", "expected", "drift in ms/s", "expected"]
    both = product(INFERENCE, COMMON_FPS)
    lines = [[name, f"{fps:g}", *_cells(effect.grid.get((name, fps)))] for name, fps in both]
    caption = (
        "Errors are root mean squares of an opening that is 0 (shut) … 1 (wide); R², error and delay without the first "
        f"and last second. Positive delay: the mouth moves late. Weights: {effect.weights}."
    )
    return Table(head, lines, caption)


def _cells(outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return ["stops", *[""] * 8]
    errors = [f"{error:.3f}" for error in (outcome.error, outcome.first_error, outcome.last_error)]
    delays = (outcome.delay.ms, outcome.expected_ms, outcome.delay.drift_ms_s, outcome.expected_drift_ms_s)
    return [outcome.model.name, outcome.r2_text, *errors, *(signed(number, 1) for number in delays)]


def difference_table(effect: Effect) -> Table:
    """Make a table of what single differences cost at 25 fps.

    Parameters
    ----------
    effect : Effect
        What `evaluate` returned.

    Returns
    -------
    Table
    """
    lines = [
        [name, o.model.name, o.r2_text, f"{o.error:.3f}", f"{o.delay.correlation:.3f}", signed(o.bias, 3)]
        for name, o in {"none: the matching pair": effect.canonical, **effect.differing}.items()
    ]
    head = ["difference", "trained on", "R²", "error", "correlation", "mean offset"]
    caption = f"25 fps, all chunked by the recipe musetools, openings 0 … 1. Weights: {effect.weights}."
    return Table(head, lines, caption)


def agreement_table(effect: Effect) -> Table:
    """Make a table of how far predictions from inference's chunks are those from training's.

    Parameters
    ----------
    effect : Effect
        What `evaluate` returned.

    Returns
    -------
    Table
    """
    lines = [
        [name, str(a.interior), str(a.equal), f"{a.interior_change:.2g}", str(a.edges), f"{a.edge_change:.2g}"]
        for name, a in effect.agreements.items()
    ]
    head = ["recipe", "interior frames", "equal bit for bit", "largest change", "edge frames", "largest change"]
    caption = (
        "25 fps; against training's chunks of the same speech, same model. Frames that training drops are left out. "
        f"Weights: {effect.weights}."
    )
    return Table(head, lines, caption)
