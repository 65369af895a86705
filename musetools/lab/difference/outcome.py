"""What becomes of each frame of a pair of recipes: the same chunk, other values, other rows, or one side alone."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from musetools.lab.answer import Answer
from musetools.lab.difference.answer import Difference
from musetools.lab.difference.causes import (
    BOUNDARY,
    DECODER,
    ELSEWHERE,
    END,
    PADDED,
    PEAK,
    POSITIONS,
    SHADE,
    Cause,
    Causes,
)
from musetools.lab.difference.measure import Comparison, compare
from musetools.recipes.profile import MINUTE_S
from musetools.table import Table
from musetools.timing import exact_fps

__all__ = ["KINDS", "Outcome", "Outcomes", "outcomes"]

SAME, MADE, ROWS, ALONE = "same chunk", "same rows, made differently", "other rows", "one side alone has a chunk"
KINDS = (SAME, MADE, ROWS, ALONE)
CAUSE_OF = {  # what a pair may make differently, and the cause that was measured for it
    "decoder": DECODER,
    "mel_peak": PEAK,
    "padding": PADDED,
    "positional encoding": POSITIONS,
    "keep_padding": END,
}
EVERY_PAIR = (ELSEWHERE, BOUNDARY)  # where a clip lies in the encoder's window, no recipe says


@dataclass(frozen=True, eq=False)
class Outcome:
    """What becomes of each frame of a pair of recipes, of a clip or over a minute."""

    where: str  # the clip's name, or "a minute"
    compared: Comparison

    @property
    def pair(self) -> str:
        """The two recipes."""
        return " and ".join(self.compared.names)

    @property
    def fps(self) -> Fraction:
        """Video frames per second."""
        return exact_fps(self.compared.a.fps)

    @cached_property
    def kinds(self) -> np.ndarray:
        """For each frame from 0 on that either has, one of `KINDS`."""
        found = self.compared
        kinds = np.full(max(found.a.frames.stop, found.b.frames.stop), ALONE, dtype=object)
        if not (found.a.stops or found.b.stops):
            same = MADE if found.made_differently else SAME
            kinds[found.shared] = np.where(found.rows_differ() > 0, ROWS, same)
        return kinds

    def counts(self) -> dict[str, int]:
        """Count frames by kind."""
        return {kind: int((self.kinds == kind).sum()) for kind in KINDS}


@dataclass(frozen=True, eq=False, repr=False)
class Outcomes(Answer):
    """What becomes of each frame of one or more pairs, each on the clip and over a minute."""

    found: tuple[tuple[Outcome, Outcome], ...]

    def all(self) -> list[Outcome]:
        """Return every outcome, pair by pair."""
        return [outcome for both in self.found for outcome in both]

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return [_sentence(*both) for both in self.found]

    def conclusion(self, causes: Causes) -> Table:
        """Return what each pair does differently and what it costs, the most costly first.

        Parameters
        ----------
        causes : Causes
            What `measure_causes` returned.

        Returns
        -------
        Table
        """
        lines = []
        for clip, _ in self.found:
            made = [name for name, *_ in clip.compared.spec_differences]
            lines += [(clip.pair, causes[CAUSE_OF[name]]) for name in made if name in CAUSE_OF]
            if not made:
                lines.append((clip.pair, None))
        lines += [("every pair, where clips are cut from longer ones", causes[name]) for name in EVERY_PAIR]
        lines.sort(key=lambda line: -line[1].cost if line[1] else 0.0)
        caption = f"Largest rms of a layer over the content's standard deviation · weights: {causes.weights}."
        cells = [_concluded(*line) for line in lines]
        shades = [SHADE[verdict] for *_, verdict in cells]
        return Table(["pair", "what differs", "costs", "safe?"], cells, caption, shades)


def _concluded(pair: str, cause: Cause | None) -> list[str]:
    if cause is None:
        return [pair, "nothing but the frames at the ends", "0", "yes"]
    return [pair, cause.name, f"{cause.cost:.2g}", cause.verdict]


def _sentence(clip: Outcome, minute: Outcome) -> str:
    rate = f"{clip.pair} at {float(clip.fps):.5g} fps"
    if stops := clip.compared.a.stops or clip.compared.b.stops:
        return f"{rate} cannot be compared: {stops}."
    n_shared, how = len(clip.compared.shared), " and ".join(clip.compared.made_differently)
    n_equal = len(clip.compared.values.equal) if clip.compared.values else None
    said = [f"{rate}: {_alike(clip)} take the same rows, {_alike(minute)}"]
    if n_equal is not None:
        said.append(f"{n_equal} of {clip.where}'s {n_shared} chunks are equal bit for bit")
    if how:
        said.append(f"the two differ in {how}")
    elif n_equal == n_shared and n_shared:
        said.append("so where both have a chunk, the difference between the two ways of chunking has no effect")
    if alone := clip.counts()[ALONE]:
        said.append(f"{alone} {'frame has' if alone == 1 else 'frames have'} a chunk on one side alone")
    return "; ".join(said) + "."


def _alike(outcome: Outcome) -> str:
    found, counts = outcome.compared, outcome.counts()
    inside = found.shared[found.interior() & (found.rows_differ() > 0)]
    text = f"{counts[SAME] + counts[MADE]} of the {len(found.shared)} frames that both have in {outcome.where}"
    if len(inside):
        return f"{text} (others from {inside[0] / float(outcome.fps):.3g} s on)"
    return f"{text} (others at the edges)" if counts[ROWS] else text


def outcomes(*answers: Difference, clip: str) -> Outcomes:
    """Say what becomes of each frame: of the clip that was compared, and over a minute by index matrix alone.

    Parameters
    ----------
    *answers : Difference
        What `evaluate` returned, for each pair; the same pair twice counts once.
    clip : str
        Name of the clip.

    Returns
    -------
    Outcomes
    """
    found = {}
    for answer in answers:
        a, b = answer.compared.a, answer.compared.b
        minute = compare(a.recipe, b.recipe, fps=a.fps, context=answer.context)
        pair = a.recipe.name, b.recipe.name, a.fps, answer.context
        found[pair] = Outcome(clip, answer.compared), Outcome(f"{MINUTE_S} s", minute)
    return Outcomes(tuple(found.values()))
