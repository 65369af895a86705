"""What a comparison of two recipes found: frames, rows, lag and values, in numbers, sentences and a category."""

from dataclasses import dataclass, field

import numpy as np

from musetools.lab.answer import Answer
from musetools.recipes.profile import Profile
from musetools.table import Table, spans

__all__ = ["SIGNS", "STOPS", "Comparison", "ValueDifference"]

EQUAL, EDGES, VALUES = "interchangeable", "alike but for edges", "same rows, other values"
ROWS, STOPS = "other rows", "stops"
SIGNS = {EQUAL: "●", EDGES: "◐", VALUES: "○", ROWS: "✕", STOPS: "–"}  # by category
EDGE_FIELDS = {"keep_padding"}  # what a spec may differ in without a difference inside the clip


@dataclass(frozen=True)
class ValueDifference:
    """How far the chunks of two recipes differ on real audio, before any positional encoding.

    Attributes
    ----------
    weights : str
        The encoder that made the features.
    frames : ndarray of int, shape (n,)
        Frames that both recipes have.
    relative : ndarray of float, shape (n, n_layers)
        Root mean square of the difference of a frame's chunks, layer by layer, over that layer's standard deviation.
    """

    weights: str
    frames: np.ndarray
    relative: np.ndarray

    @property
    def equal(self) -> np.ndarray:
        """Frames whose chunks are equal bit for bit."""
        return self.frames[(self.relative == 0).all(axis=1)]

    def by_layer(self, chosen: np.ndarray) -> np.ndarray:
        """Return the relative difference of some frames together, layer by layer; `chosen` are indices or a mask."""
        relative = self.relative[chosen]
        return np.sqrt(np.square(relative).mean(axis=0)) if len(relative) else np.zeros(self.relative.shape[1])


@dataclass(frozen=True, repr=False)
class Comparison(Answer):
    """Two recipes on one clip at one frame rate.

    Attributes
    ----------
    a, b : Profile
        Each recipe's index matrix and what is read off it.
    spec_differences : tuple of (str, str, str)
        What differs in how they make features: the name of it, and each recipe's value.
    values : ValueDifference or None
        What that does to the values, where audio was given.
    """

    a: Profile
    b: Profile
    spec_differences: tuple[tuple[str, str, str], ...]
    values: ValueDifference | None = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, str]:
        """Names of the two recipes."""
        return self.a.recipe.name, self.b.recipe.name

    @property
    def shared(self) -> np.ndarray:
        """Numbers of the frames that both have."""
        return np.arange(max(self.a.frames.start, self.b.frames.start), min(self.a.frames.stop, self.b.frames.stop))

    def rows_differ(self) -> np.ndarray:
        """Count, for each frame that both have, the rows of its chunk that are not the same."""
        a, b = (p.rows[self.shared - p.first_frame] for p in (self.a, self.b))
        return (a != b).sum(axis=1)

    def interior(self) -> np.ndarray:
        """Return, for each frame that both have, whether it is at an edge for neither."""
        a, b = (np.isin(self.shared, p.first_frame + p.interior) for p in (self.a, self.b))
        return a & b

    @property
    def differing(self) -> int:
        """How many of the frames that both have take other rows."""
        return int((self.rows_differ() > 0).sum())

    @property
    def category(self) -> str:
        """Whether one may replace the other: one of the keys of `SIGNS`."""
        if self.a.stops or self.b.stops:
            return STOPS
        differ, inside = self.rows_differ() > 0, self.interior()
        if (differ & inside).any() or (differ.any() and not inside.any()):
            return ROWS
        if any(name not in EDGE_FIELDS for name, *_ in self.spec_differences):
            return VALUES
        same = self.a.frames == self.b.frames and not differ.any() and not self.spec_differences
        return EQUAL if same else EDGES

    def sentences(self) -> list[str]:
        """Write what was found, computed from the numbers."""
        stops = [f"{p.recipe.name} cannot do this: {p.stops}." for p in (self.a, self.b) if p.stops]
        if stops:
            return stops
        return [
            *self._on_frames(),
            *self._on_lag(),
            *self._on_specs(),
            *self._on_values(),
            f"Category: {self.category}.",
        ]

    def _on_frames(self) -> list[str]:
        differ, inside = self.rows_differ() > 0, self.interior()
        sentences = [
            f"{_frames(len(differ))} in both: {int((~differ).sum())} take the same rows, "
            f"{int((differ & ~inside).sum())} differ at an edge, {int((differ & inside).sum())} inside the clip."
        ]
        for mine, other in ((self.a, self.b), (self.b, self.a)):
            alone = [i for i in mine.frames if i not in other.frames]
            if alone:
                sentences.append(f"{mine.recipe.name} alone has {_frames(len(alone))}: {spans(alone)}.")
        for p in (self.a, self.b):
            if p.zero_rows:
                sentences.append(f"{p.recipe.name} pads its chunks with {p.zero_rows} rows of zeros in all.")
        return sentences

    def _on_lag(self) -> list[str]:
        lags = [f"{p.recipe.name} {p.lag_text()}" for p in (self.a, self.b)]
        return [f"Lag in ms: {', '.join(lags)}."]

    def _on_specs(self) -> list[str]:
        if not self.spec_differences:
            return ["Both make their features in the same way."]
        differences = "; ".join(f"{name} is {a} against {b}" for name, a, b in self.spec_differences)
        return [f"They make their features differently: {differences}."]

    def _on_values(self) -> list[str]:
        if self.values is None:
            return []
        inside = self.interior()
        weights = self.values.weights
        sentences = [f"{len(self.values.equal)} of {len(inside)} chunks are equal bit for bit (weights: {weights})."]
        for name, chosen in (("Inside the clip", inside), ("At its edges", ~inside)):
            if chosen.any():
                gap = _gap(self.values.by_layer(chosen))
                sentences.append(f"{name}, chunks {gap} ({_frames(int(chosen.sum()))}).")
        return sentences

    def __repr__(self) -> str:
        return "\n".join([" against ".join(self.names), *self.sentences()])

    def _repr_html_(self) -> str:
        names = ["frames", "first frame", "lag in ms", "frames at an edge", "rows of zeros"]
        facts = [(len(p.rows), p.first_frame, p.lag_text(), p.edge_frames, p.zero_rows) for p in (self.a, self.b)]
        table = Table(
            [f"at {float(self.a.fps):g} fps", *self.names], [*zip(names, *facts, strict=True), *self.spec_differences]
        )
        return table._repr_html_() + super()._repr_html_()


def _frames(n: int) -> str:
    return f"{n} frame" if n == 1 else f"{n} frames"


def _gap(by_layer: np.ndarray) -> str:
    """Write how far chunks differ, in standard deviations."""
    if not by_layer.any():
        return "are equal in every layer"
    return (
        f"differ by {by_layer.min():.2g} to {by_layer.max():.2g} standard deviations, most in layer {by_layer.argmax()}"
    )
