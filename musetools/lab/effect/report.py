"""The effect of preprocessing on a model in tables and sentences."""

from collections.abc import Mapping, Sequence

from musetools.lab.effect.outcome import Agreement, Outcome
from musetools.table import Table, minus, signed

__all__ = ["BAND_MS", "Grid", "agreement_table", "difference_table", "effect_sentences", "outcome_table", "r2_text"]
__all__ += ["running", "titled", "worst"]

NOTHING, LITTLE = 0.01, 0.05  # costs in R² below which a difference counts as nothing, as little
BAND_MS, BAND_MS_S = 15, 2  # how well delays and drifts are to agree
LEARNED, UNLEARNED = 0.6, 0.1  # R² that the matching pair must exceed, and the control stay below
DRIFTS_MS_S = 1.0

Grid = Mapping[str, Sequence[Outcome | None]]


def running(grid: Grid) -> list[Outcome]:
    """Return the outcomes of all recipes and frame rates that run."""
    return [outcome for outcomes in grid.values() for outcome in outcomes if outcome is not None]


def worst(grid: Grid) -> Outcome:
    """Return the outcome with the lowest R²."""
    return min(running(grid), key=lambda outcome: outcome.r2)


def titled(outcome: Outcome) -> str:
    """Name an outcome: recipe and frame rate."""
    return f"{outcome.recipe} at {float(outcome.fps):g} fps"


def outcome_table(grid: Grid, rates: Sequence[float], *, weights: str) -> Table:
    """Return what every recipe does at every frame rate.

    Parameters
    ----------
    grid : dict of str to sequence of Outcome or None
        By recipe, an outcome for each frame rate.
    rates : sequence of float
        The frame rates.
    weights : str
        Name of the encoder.

    Returns
    -------
    Table
    """
    head = ["recipe", "fps", "trained on", "R²", "error", "first second", "last second"]
    head += ["delay in ms", "expected", "drift in ms/s", "expected"]
    cells = [
        [name, f"{fps:g}", *_cells(outcome)]
        for name, outcomes in grid.items()
        for fps, outcome in zip(rates, outcomes, strict=True)
    ]
    caption = "Errors are root mean squares of an opening that is 0 (shut) … 1 (wide); R², error and delay without the "
    return Table(
        head, cells, f"{caption}first and last second. Positive delay: the mouth moves late. Weights: {weights}."
    )


def _cells(outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return ["stops", *[""] * 8]
    errors = [f"{e:.3f}" for e in (outcome.error, outcome.first_error, outcome.last_error)]
    delays = [signed(outcome.delay.ms, 1), signed(outcome.expected_ms, 1)]
    drifts = [signed(outcome.delay.drift_ms_s, 1), signed(outcome.expected_drift_ms_s, 1)]
    return [outcome.model.name, r2_text(outcome.r2), *errors, *delays, *drifts]


def difference_table(differing: Mapping[str, Outcome], matching: Outcome, *, weights: str) -> Table:
    """Return what single differences cost at 25 fps."""
    shown = {"none: the matching pair": matching, **differing}
    cells = [
        [name, o.model.name, minus(f"{o.r2:.3f}"), f"{o.error:.3f}", f"{o.delay.correlation:.3f}", signed(o.bias, 3)]
        for name, o in shown.items()
    ]
    head = ["difference", "trained on", "R²", "error", "correlation", "mean offset"]
    return Table(head, cells, f"25 fps, all chunked by the recipe musetools, openings 0 … 1. Weights: {weights}.")


def agreement_table(agreements: Mapping[str, Agreement], *, weights: str) -> Table:
    """Return how far predictions from inference's chunks are those from training's."""
    cells = [
        [name, str(a.interior), str(a.equal), f"{a.interior_change:.2g}", str(a.edges), f"{a.edge_change:.2g}"]
        for name, a in agreements.items()
    ]
    head = ["recipe", "interior frames", "equal bit for bit", "largest change", "edge frames", "largest change"]
    caption = "25 fps; against training's chunks of the same speech, same model. Frames that training drops are left "
    return Table(head, cells, f"{caption}out. Weights: {weights}.")


def r2_text(number: float) -> str:
    """Write an R² with three places."""
    return minus(f"{number:.3f}")


def effect_sentences(
    grid: Grid,
    differing: Mapping[str, Outcome],
    agreements: Mapping[str, Agreement],
    matching: Outcome,
    control: Outcome,
) -> list[str]:
    """Write which differences change nothing, and which cost what.

    Parameters
    ----------
    grid : dict of str to sequence of Outcome or None
        By recipe, an outcome for each frame rate.
    differing : dict of str to Outcome
        Single differences, at 25 fps.
    agreements : dict of str to Agreement
        By recipe, at 25 fps.
    matching, control : Outcome
        Training and inference alike; and a model of shuffled openings.

    Returns
    -------
    list of str
    """
    valid = matching.r2 > LEARNED and abs(control.r2) < UNLEARNED
    found = [
        f"The experiment is {'valid' if valid else 'not valid'}: R² of held-out speech is {r2_text(matching.r2)} "
        f"from training's chunks, {r2_text(control.r2)} for a model of shuffled openings.",
        *_timing(grid),
        *_equality(agreements),
    ]
    shown = differing | {titled(outcome): outcome for outcome in running(grid)}
    costs = {name: matching.r2 - outcome.r2 for name, outcome in shown.items()}
    free = [name for name, cost in costs.items() if cost < NOTHING]
    cheap = [f"{name} ({cost:.3f})" for name, cost in costs.items() if NOTHING <= cost < LITTLE]
    found += [f"Costs nothing (less than {NOTHING:g} of R²): {'; '.join(free) or 'none'}."]
    found += [f"Costs little (less than {LITTLE:g}): {'; '.join(cheap) or 'none'}."]
    costly = sorted((name for name, cost in costs.items() if cost >= LITTLE), key=costs.get, reverse=True)
    return found + [f"Costs {costs[name]:.2f} of R²: {name}{_why(shown[name])}." for name in costly]


def _timing(grid: Grid) -> list[str]:
    ran = running(grid)
    late = max(abs(o.delay.ms - o.expected_ms) for o in ran)
    drift = max(abs(o.delay.drift_ms_s - o.expected_drift_ms_s) for o in ran)
    stopped = sum(outcome is None for outcomes in grid.values() for outcome in outcomes)
    return [
        f"Of {len(ran) + stopped} recipes and frame rates, {stopped} stop. In the others the measured delay "
        f"{'agrees' if late <= BAND_MS and drift <= BAND_MS_S else 'does not always agree'} with the one expected from "
        f"the index matrix: it differs by at most {late:.1f} ms, its drift by {drift:.2f} ms/s."
    ]


def _equality(agreements: Mapping[str, Agreement]) -> list[str]:
    same = {name: a for name, a in agreements.items() if a.interior and a.equal == a.interior}
    other = {name: a for name, a in agreements.items() if name not in same}
    found = []
    if same:
        edge = max(same, key=lambda name: same[name].edge_change)
        found.append(
            f"At 25 fps, with the same model, {', '.join(same)} predict what training's chunks predict in every "
            f"interior frame, bit for bit; at an edge openings change by up to {same[edge].edge_change:.2f} ({edge})."
        )
    if other:
        changes = ", ".join(f"{name} (up to {a.interior_change:.2f})" for name, a in other.items())
        found.append(f"Inside the clip, too, predictions of other features or rows differ from training's: {changes}.")
    return found


def _why(outcome: Outcome) -> str:
    """Write what explains an outcome's cost: time, a constant, or the values themselves."""
    reasons, delay, offset = [], outcome.delay, outcome.bias
    drifts = abs(delay.drift_ms_s) >= DRIFTS_MS_S
    if abs(delay.ms) >= BAND_MS or drifts:
        reasons.append(f"the mouth is {abs(delay.ms):.0f} ms {'late' if delay.ms > 0 else 'early'} on average")
    if drifts:
        side = "later" if delay.drift_ms_s > 0 else "earlier"
        reasons.append(f"{abs(delay.drift_ms_s):.2g} ms {side} with every second")
    if abs(offset) >= 2 * outcome.truth.std():
        reasons.append(f"all openings move by {signed(offset, 2)}, a constant to a linear model")
    return f": {', '.join([*reasons, f'correlation {delay.correlation:.2f} without delay'])}"
