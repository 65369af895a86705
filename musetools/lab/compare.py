"""Two recipes side by side: which rows each frame takes, with what values, and which pairs are interchangeable."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from html import escape

import numpy as np

from musetools.audio import load_audio
from musetools.chunks import Chunks
from musetools.clock import SAMPLE_RATE
from musetools.decode import Source
from musetools.encoder import Encoder, load_encoder
from musetools.features import audio2feat
from musetools.lab.profile import COMMON_FPS, MINUTE_S, Profile, profile, recipe_of
from musetools.lab.table import Table
from musetools.recipes import RECIPES, Recipe

__all__ = ["Comparison", "ValueDifference", "compare", "compare_all", "compare_at", "rate_table"]

EQUAL, EDGES, VALUES, ROWS, STOPS = (
    "interchangeable",
    "alike but for edges",
    "same rows, other values",
    "other rows",
    "stops",
)
SIGNS = {EQUAL: "●", EDGES: "◐", VALUES: "○", ROWS: "✕", STOPS: "–"}
EDGE_FIELDS = {"keep_fill"}  # what a spec may differ in without a difference inside the clip


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

    def by_layer(self, lines: np.ndarray) -> np.ndarray:
        """Return the relative difference of some frames together, layer by layer."""
        return np.sqrt(np.square(self.relative[lines]).mean(axis=0)) if len(lines) else np.zeros(self.relative.shape[1])


@dataclass(frozen=True)
class Comparison:
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
        """Tell, for each frame that both have, whether it is at an edge for neither."""
        a, b = (np.isin(self.shared, p.first_frame + p.interior) for p in (self.a, self.b))
        return a & b

    @property
    def verdict(self) -> str:
        """Whether one may stand for the other, in a few words."""
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
        """Say what was found, computed from the numbers."""
        stops = [f"{p.recipe.name} cannot do this: {p.stops}." for p in (self.a, self.b) if p.stops]
        if stops:
            return stops
        return [*self._on_frames(), *self._on_lag(), *self._on_specs(), *self._on_values(), f"Verdict: {self.verdict}."]

    def _on_frames(self) -> list[str]:
        differ, inside = self.rows_differ() > 0, self.interior()
        said = [
            f"{_frames(len(differ))} in both: {int((~differ).sum())} take the same rows, "
            f"{int((differ & ~inside).sum())} differ at an edge, {int((differ & inside).sum())} inside the clip."
        ]
        for mine, other in ((self.a, self.b), (self.b, self.a)):
            alone = [i for i in mine.frames if i not in other.frames]
            if alone:
                said.append(f"{mine.recipe.name} alone has {_frames(len(alone))}: {spans(alone)}.")
        for p in (self.a, self.b):
            if p.zero_rows:
                said.append(f"{p.recipe.name} fills its chunks with {p.zero_rows} rows of zeros in all.")
        return said

    def _on_lag(self) -> list[str]:
        lags = [f"{p.recipe.name} {p.lag_text()}" for p in (self.a, self.b)]
        return [f"Lag in ms: {', '.join(lags)}."]

    def _on_specs(self) -> list[str]:
        if not self.spec_differences:
            return ["Both make their features in the same way."]
        told = "; ".join(f"{name} is {a} against {b}" for name, a, b in self.spec_differences)
        return [f"They make their features differently: {told}."]

    def _on_values(self) -> list[str]:
        if self.values is None:
            return []
        inside = self.interior()
        said = [
            f"{len(self.values.equal)} of {len(inside)} chunks are equal bit for bit (weights: {self.values.weights})."
        ]
        for name, lines in (("inside the clip", np.flatnonzero(inside)), ("at its edges", np.flatnonzero(~inside))):
            if len(lines):
                said.append(f"{name.capitalize()}, chunks {_gap(self.values.by_layer(lines))} ({_frames(len(lines))}).")
        return said

    def __repr__(self) -> str:
        return "\n".join([" against ".join(self.names), *self.sentences()])

    def _repr_html_(self) -> str:
        facts = [
            ("frames", *(f"{len(p.rows)}" for p in (self.a, self.b))),
            ("first frame", *(f"{p.first_frame}" for p in (self.a, self.b))),
            ("lag in ms", *(p.lag_text() for p in (self.a, self.b))),
            ("frames at an edge", *(f"{p.edge_frames}" for p in (self.a, self.b))),
            ("rows of zeros", *(f"{p.zero_rows}" for p in (self.a, self.b))),
            *self.spec_differences,
        ]
        said = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.sentences())
        return Table([f"at {float(self.a.fps):g} fps", *self.names], facts)._repr_html_() + f"<ul>{said}</ul>"


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
        Frame rate that both are told.
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
    return compare_at(a, b, source, rates=(fps,), context=context, encoder=encoder)[0]


def compare_at(
    a: str | Recipe,
    b: str | Recipe,
    source: Source | None = None,
    *,
    rates: Iterable[float | Fraction] = COMMON_FPS,
    context: tuple[int, int] = (2, 2),
    encoder: str | Encoder = "tiny",
) -> list[Comparison]:
    """Compare two recipes at several frame rates, making the features once; see `compare`."""
    a, b = recipe_of(a), recipe_of(b)
    differences = tuple(_spec_differences(a, b))
    if source is None:
        minutes = [MINUTE_S * SAMPLE_RATE] * 2
        return [Comparison(*_profiles((a, b), minutes, fps, context), differences) for fps in rates]
    encoder = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
    # decoders that resample may differ by a sample
    n_samples = [len(load_audio(source, decoder=recipe.features.decoder)) for recipe in (a, b)]
    features = {spec: audio2feat(source, encoder, spec=spec) for spec in {a.features, b.features}}
    compared = []
    for fps in rates:
        both = _profiles((a, b), n_samples, fps, context)
        chunks = [
            Chunks(features[p.recipe.features], p.rows, fps, first_frame=p.first_frame) for p in both if not p.stops
        ]
        values = _value_difference(*chunks, encoder.name) if len(chunks) == len(both) else None
        compared.append(Comparison(*both, differences, values))
    return compared


def _profiles(
    recipes: tuple[Recipe, Recipe], n_samples: Sequence[int], fps: float | Fraction, context: tuple[int, int]
) -> list[Profile]:
    return [profile(recipe, n, fps, context) for recipe, n in zip(recipes, n_samples, strict=True)]


def _spec_differences(a: Recipe, b: Recipe) -> Iterable[tuple[str, str, str]]:
    ours, theirs = asdict(a.features), asdict(b.features)
    for name, value in ours.items():
        if value != theirs[name] and name != "window":
            yield name, str(value), str(theirs[name])
    if a.features.window != b.features.window:
        yield "window", str(a.features.window), str(b.features.window)
    if a.positional_encoding != b.positional_encoding:
        yield "positional encoding", *("added" if r.positional_encoding else "not added" for r in (a, b))


def _value_difference(a: Chunks, b: Chunks, weights: str) -> ValueDifference:
    """Measure frame by frame; a chunk's rows and layers are apart again for that."""
    shared = np.arange(max(a.frames.start, b.frames.start), min(a.frames.stop, b.frames.stop))
    n_layers = a.features.shape[1]
    spread = a.features.astype(np.float64).std(axis=(0, 2))
    relative = np.zeros((len(shared), n_layers))
    for line, frame in enumerate(shared):
        gap = a.at(frame).astype(np.float64) - b.at(frame)
        relative[line] = np.sqrt(np.square(gap.reshape(-1, n_layers, gap.shape[-1])).mean(axis=(0, 2))) / spread
    return ValueDifference(weights, shared, relative)


@dataclass(frozen=True)
class ComparisonMatrix:
    """Every recipe against every other at one frame rate."""

    fps: float | Fraction
    names: tuple[str, ...]
    pairs: dict[tuple[str, str], Comparison]

    def verdict(self, a: str, b: str) -> str:
        """Return the verdict on a pair, in either order."""
        return (self.pairs.get((a, b)) or self.pairs[b, a]).verdict

    def table(self) -> Table:
        """Return a sign for each pair."""
        lines = [
            [f"{i} {a}", *(SIGNS[self.verdict(a, b)] for b in self.names)] for i, a in enumerate(self.names, start=1)
        ]
        caption = f"At {float(self.fps):g} fps: " + ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
        return Table(["", *map(str, range(1, len(self.names) + 1))], lines, caption)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def rate_table(comparisons: Iterable[Comparison]) -> Table:
    """Sum up a comparison at several frame rates, a line each."""
    head = ["fps", "frames in both", "other rows", "lag in ms", "against", "difference inside", "verdict"]
    return Table(head, [_summary(compared) for compared in comparisons])


def _summary(compared: Comparison) -> list[str]:
    rate, lags = f"{float(compared.a.fps):g}", [p.lag_text() for p in (compared.a, compared.b)]
    if compared.verdict == STOPS:
        return [rate, "–", "–", *lags, "–", STOPS]
    inside = np.flatnonzero(compared.interior())
    values = compared.values.by_layer(inside) if compared.values and len(inside) else None
    gap = "–" if values is None else f"{values.min():.2g} to {values.max():.2g} std"
    counts = [str(len(compared.shared)), str(int((compared.rows_differ() > 0).sum()))]
    return [rate, *counts, *lags, gap, compared.verdict]


def compare_all(recipes: Iterable[str | Recipe] | None = None, *, fps: float | Fraction = 25) -> ComparisonMatrix:
    """Compare every recipe with every other, by index matrix and feature spec, over a minute.

    Parameters
    ----------
    recipes : iterable of Recipe or str, optional
        By default all of `RECIPES`.
    fps : float or Fraction, default 25
        Frame rate that all are told.

    Returns
    -------
    ComparisonMatrix
    """
    chosen = [recipe_of(recipe) for recipe in (RECIPES if recipes is None else recipes)]
    pairs = {(a.name, b.name): compare(a, b, fps=fps) for i, a in enumerate(chosen) for b in chosen[i:]}
    return ComparisonMatrix(fps, tuple(recipe.name for recipe in chosen), pairs)


def _frames(n: int) -> str:
    return f"{n} frame" if n == 1 else f"{n} frames"


def _gap(by_layer: np.ndarray) -> str:
    """Say how far chunks differ, in standard deviations."""
    if not by_layer.any():
        return "are equal in every layer"
    return (
        f"differ by {by_layer.min():.2g} to {by_layer.max():.2g} standard deviations, most in layer {by_layer.argmax()}"
    )


def spans(frames: Iterable[int]) -> str:
    """Write frame numbers as spans: 0–1, 299–300."""
    frames = np.asarray(list(frames))
    parts = np.split(frames, np.flatnonzero(np.diff(frames) != 1) + 1)
    text = ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}–{s[-1]}" for s in parts[:6])
    return text + (f" and {len(parts) - 6} more spans" if len(parts) > 6 else "")
