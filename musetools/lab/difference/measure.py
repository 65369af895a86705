"""Two recipes side by side: which rows each frame takes, with what values, and which pairs are interchangeable."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np

from musetools.audio.decode import Source
from musetools.chunks.sequence import Chunks
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.extract import FeatureRows
from musetools.lab.difference.comparison import SIGNS, STOPS, Comparison, ValueDifference
from musetools.recipes.profile import COMMON_FPS, MINUTE_S, Profile, profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.table import Table
from musetools.timing import SAMPLE_RATE

__all__ = ["ComparisonMatrix", "compare", "compare_all", "compare_at", "rate_table"]


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
    made = {spec: FeatureRows(source, encoder, spec) for spec in {a.features, b.features}}
    features = {spec: rows.array() for spec, rows in made.items()}
    n_samples = [made[recipe.features].n_samples for recipe in (a, b)]  # decoders that resample may differ by a sample
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
