"""Two recipes on one clip at one frame rate: frames, rows and lag from index matrices, values from features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np

from musetools.audio.decode import Source
from musetools.chunks.sequence import Chunks
from musetools.features.encoder import Encoder, as_encoder
from musetools.features.extract import FeatureRows
from musetools.features.spec import FeatureSpec
from musetools.lab.answer import Answer
from musetools.recipes.profile import MINUTE_S, Profile, profile
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.table import Table, spans
from musetools.timing import SAMPLE_RATE, exact_fps

__all__ = ["KINDS", "SIGNS", "STOPS", "Comparison", "Made", "ValueDifference"]
__all__ += ["compare", "compare_features", "make_features"]

EQUAL, EDGES, VALUES = "interchangeable", "alike but for edges", "same rows, other values"
ROWS, STOPS = "other rows", "stops"
SIGNS = {EQUAL: "●", EDGES: "◐", VALUES: "○", ROWS: "✕", STOPS: "–"}  # by category of a pair
SAME, MADE, ALONE = "same chunk", "same rows, made differently", "one side alone has a chunk"
KINDS = (SAME, MADE, ROWS, ALONE)  # of a frame
EDGE_FIELDS = {"keep_padding"}  # what a spec may differ in without a difference inside the clip
Made = dict[FeatureSpec, tuple[np.ndarray, int]]  # features of a clip, and its samples: some decoders give one more


@dataclass(frozen=True)
class ValueDifference:
    """How far the chunks of two recipes differ on real audio, before any positional encoding."""

    weights: str  # the encoder that made the features
    frames: np.ndarray  # (n,): the frames that both recipes have
    relative: np.ndarray  # (n, n_layers): root mean square of the difference over the layer's standard deviation

    @property
    def equal(self) -> np.ndarray:
        """Frames whose chunks are equal bit for bit."""
        return self.frames[(self.relative == 0).all(axis=1)]

    def by_layer(self, chosen: np.ndarray) -> np.ndarray:
        """Return the difference of some frames together, layer by layer; `chosen` are indices or a mask."""
        relative = self.relative[chosen]
        return np.sqrt(np.square(relative).mean(axis=0)) if len(relative) else np.zeros(self.relative.shape[1])


@dataclass(frozen=True, repr=False)
class Comparison(Answer):
    """Two recipes on one clip at one frame rate."""

    a: Profile
    b: Profile
    spec_differences: tuple[tuple[str, str, str], ...]  # name, value of `a`, value of `b`
    values: ValueDifference | None  # where audio was given and neither stops
    where: str  # what was compared: a clip, or "60 s" by index matrix alone

    @property
    def names(self) -> tuple[str, str]:
        """Names of the two recipes."""
        return self.a.recipe.name, self.b.recipe.name

    @property
    def pair(self) -> str:
        """Their names in a text."""
        return " and ".join(self.names)

    @property
    def fps(self) -> float:
        """Video frames per second, exactly what both take the rate for."""
        return float(exact_fps(self.a.fps))

    @property
    def stops(self) -> str:
        """Why one of the two stops; empty where both run."""
        return self.a.stops or self.b.stops

    @property
    def shared(self) -> np.ndarray:
        """Numbers of the frames that both have."""
        return _shared(self.a.frames, self.b.frames)

    def rows_differ(self) -> np.ndarray:
        """Count, for each frame that both have, the rows of its chunk that are not the same."""
        a, b = (p.rows[self.shared - p.first_frame] for p in (self.a, self.b))
        return (a != b).sum(axis=1)

    def interior(self) -> np.ndarray:
        """Return, for each frame that both have, whether it is at an edge for neither."""
        a, b = (np.isin(self.shared, p.first_frame + p.interior) for p in (self.a, self.b))
        return a & b

    @property
    def made_differently(self) -> list[str]:
        """Names of what the two make their features by that is not the same, edges apart."""
        return [name for name, *_ in self.spec_differences if name not in EDGE_FIELDS]

    @property
    def differing(self) -> int:
        """How many of the frames that both have take other rows."""
        return int((self.rows_differ() > 0).sum())

    @property
    def category(self) -> str:
        """Whether one may replace the other: one of the keys of `SIGNS`."""
        if self.stops:
            return STOPS
        differ, inside = self.rows_differ() > 0, self.interior()
        if (differ & inside).any() or (differ.any() and not inside.any()):
            return ROWS
        if self.made_differently:
            return VALUES
        same = self.a.frames == self.b.frames and not differ.any() and not self.spec_differences
        return EQUAL if same else EDGES

    @property
    def kinds(self) -> np.ndarray:
        """What becomes of each frame from 0 on that either has: one of `KINDS`."""
        kinds = np.full(max(self.a.frames.stop, self.b.frames.stop), ALONE, dtype=object)
        kinds[self.shared] = np.where(self.rows_differ() > 0, ROWS, MADE if self.made_differently else SAME)
        return kinds

    def counts(self) -> dict[str, int]:
        """Count frames by kind."""
        kinds = self.kinds
        return {kind: int((kinds == kind).sum()) for kind in KINDS}

    def sentences(self) -> list[str]:
        """Write what was found, computed from the numbers."""
        stops = [f"{p.recipe.name} cannot do this: {p.stops}." for p in (self.a, self.b) if p.stops]
        return stops or [*self._of_rows(), *self._of_values(), f"Category: {self.category}."]

    def _of_rows(self) -> Iterator[str]:
        differ, inside = self.rows_differ() > 0, self.interior()
        yield (
            f"{_frames(len(differ))} in both: {(~differ).sum()} take the same rows, "
            f"{(differ & ~inside).sum()} differ at an edge, {(differ & inside).sum()} inside the clip."
        )
        for mine, other in ((self.a, self.b), (self.b, self.a)):
            if alone := [i for i in mine.frames if i not in other.frames]:
                yield f"{mine.recipe.name} alone has {_frames(len(alone))}: {spans(alone)}."
        yield f"Lag in ms: {', '.join(f'{p.recipe.name} {p.lag_text()}' for p in (self.a, self.b))}."

    def _of_values(self) -> Iterator[str]:
        differences = "; ".join(f"{name} is {a} against {b}" for name, a, b in self.spec_differences)
        same = "Both make their features in the same way."
        yield f"They make their features differently: {differences}." if differences else same
        if self.values:
            inside, equal = self.interior(), len(self.values.equal)
            yield f"{equal} of {len(inside)} chunks are equal bit for bit (weights: {self.values.weights})."
            for name, chosen in (("Inside the clip", inside), ("At its edges", ~inside)):
                if chosen.any():
                    yield f"{name}, chunks {_gap(self.values.by_layer(chosen))} ({_frames(chosen.sum())})."

    def table(self) -> Table:
        """Return what each of the two does."""
        names = ["frames", "first frame", "lag in ms", "frames at an edge", "rows of zeros"]
        facts = [(len(p.rows), p.first_frame, p.lag_text(), p.edge_frames, p.zero_rows) for p in (self.a, self.b)]
        lines = [*zip(names, *facts, strict=True), *self.spec_differences]
        return Table([f"at {self.fps:.5g} fps", *self.names], lines)


def _shared(a: range, b: range) -> np.ndarray:
    return np.arange(max(a.start, b.start), min(a.stop, b.stop))


def _frames(n: int) -> str:
    return f"{n} frame" if n == 1 else f"{n} frames"


def _gap(by_layer: np.ndarray) -> str:
    if not by_layer.any():
        return "are equal in every layer"
    low, high = by_layer.min(), by_layer.max()
    return f"differ by {low:.2g} to {high:.2g} standard deviations, most in layer {by_layer.argmax()}"


def make_features(source: Source, encoder: Encoder, recipes: Iterable[Recipe]) -> Made:
    """Make a clip's features, once for each way in which some recipes make them."""
    made = {}
    for spec in dict.fromkeys(recipe.features for recipe in recipes):
        rows = FeatureRows(source, encoder, spec)
        made[spec] = rows.array(), rows.n_samples
    return made


def compare(
    a: str | Recipe,
    b: str | Recipe,
    source: Source | None = None,
    *,
    fps: float | Fraction = 25,
    context: tuple[int, int] = (2, 2),
    encoder: str | Encoder = "tiny",
) -> Comparison:
    """Compare two recipes: their index matrices always, their values where audio is given.

    Parameters
    ----------
    a, b : Recipe or str
        The pipelines.
    source : path, binary file or (array, sample_rate), optional
        Audio to make features of; without it, matrices for a minute are compared and no weights are needed.
    fps : float or Fraction, default 25
        Frame rate, as it is passed to both.
    context : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    encoder : Encoder or str, default "tiny"
        What makes the features.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If there is no such recipe, or an argument is out of range.
    AudioError, EncoderError
        If the audio or the weights cannot be used.
    """
    recipes = recipe_of(a), recipe_of(b)
    if source is None:
        return compare_features(*recipes, {}, fps=fps, context=context)
    encoder = as_encoder(encoder)
    return compare_features(*recipes, make_features(source, encoder, recipes), encoder.name, fps=fps, context=context)


def compare_features(
    a: Recipe, b: Recipe, made: Made, weights: str = "", *, fps: float | Fraction, context: tuple[int, int] = (2, 2)
) -> Comparison:
    """Compare two recipes on what `make_features` returned; where that is empty, index matrices alone for a minute."""
    ours, theirs = _settings(a), _settings(b)
    differences = tuple((name, value, theirs[name]) for name, value in ours.items() if value != theirs[name])
    lengths = [made[recipe.features][1] if made else MINUTE_S * SAMPLE_RATE for recipe in (a, b)]
    both = [profile(recipe, n, fps, context) for recipe, n in zip((a, b), lengths, strict=True)]
    values = None
    if made and not any(p.stops for p in both):
        values = _value_difference(*(r.chunks(*made[r.features], fps, context) for r in (a, b)), weights)
    return Comparison(*both, differences, values, "the clip" if made else f"{MINUTE_S} s")


def _settings(recipe: Recipe) -> dict[str, str]:
    """Return how a recipe makes what the model is given, chunks apart."""
    spec, added = recipe.features, "added" if recipe.positional_encoding else "not added"
    return {field.name: str(getattr(spec, field.name)) for field in fields(spec)} | {"positional encoding": added}


def _value_difference(a: Chunks, b: Chunks, weights: str) -> ValueDifference:
    shared, n_layers = _shared(a.frames, b.frames), a.features.shape[1]
    spread = a.features.astype(np.float64).std(axis=(0, 2))
    relative = np.zeros((len(shared), n_layers))
    for index, frame in enumerate(shared):
        gap = a.at(frame).astype(np.float64) - b.at(frame)
        relative[index] = np.sqrt(np.square(gap.reshape(-1, n_layers, gap.shape[-1])).mean(axis=(0, 2))) / spread
    return ValueDifference(weights, shared, relative)
