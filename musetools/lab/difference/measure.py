"""Two recipes side by side: which rows each frame takes, with what values, and which pairs are interchangeable."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np

from musetools.audio.decode import Source
from musetools.chunks.sequence import Chunks
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.extract import FeatureRows
from musetools.features.spec import FeatureSpec
from musetools.lab.difference.comparison import SIGNS, STOPS, Comparison, ValueDifference
from musetools.recipes.profile import COMMON_FPS, MINUTE_S, lag_table, profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.table import Table
from musetools.timing import SAMPLE_RATE

__all__ = ["ComparisonMatrix", "Features", "compare", "compare_all", "compare_at"]
__all__ += ["lag_table", "make_features", "rate_table"]


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a clip, and the clip's samples at 16 kHz: decoders that resample may differ by one."""

    rows: np.ndarray
    n_samples: int


Made = dict[FeatureSpec, Features]


def make_features(source: Source, encoder: Encoder, recipes: Iterable[str | Recipe]) -> Made:
    """Make a clip's features, once for each way in which some recipes make them.

    Parameters
    ----------
    source : path, binary file or (array, sample_rate)
        The clip.
    encoder : Encoder
        The weights.
    recipes : iterable of Recipe or str
        The pipelines.

    Returns
    -------
    dict of FeatureSpec to Features
        By each recipe's ``features``.
    """
    made = {}
    for spec in dict.fromkeys(recipe_of(recipe).features for recipe in recipes):
        rows = FeatureRows(source, encoder, spec)
        made[spec] = Features(rows.array(), rows.n_samples)
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
    return compare_at(a, b, source, rates=(fps,), context=context, encoder=encoder)[0]


def compare_at(
    a: str | Recipe,
    b: str | Recipe,
    source: Source | None = None,
    *,
    rates: Iterable[float | Fraction] = COMMON_FPS,
    context: tuple[int, int] = (2, 2),
    encoder: str | Encoder = "tiny",
    features: Mapping[FeatureSpec, Features] | None = None,
) -> list[Comparison]:
    """Compare two recipes at several frame rates, making the features once.

    Parameters
    ----------
    a, b, source, context, encoder
        As for `compare`.
    rates : iterable of float or Fraction
        Frame rates.
    features : dict of FeatureSpec to Features, optional
        What `make_features` returned, to make none again.

    Returns
    -------
    list of Comparison
        One for each frame rate.
    """
    recipes = a, b = recipe_of(a), recipe_of(b)
    encoder = load_encoder(encoder) if source is not None and not isinstance(encoder, Encoder) else encoder
    made = features or (make_features(source, encoder, recipes) if source is not None else {})
    differences = tuple(_spec_differences(a, b))
    compared = []
    for fps in rates:
        lengths = [made[r.features].n_samples if made else MINUTE_S * SAMPLE_RATE for r in recipes]
        both = [profile(recipe, n, fps, context) for recipe, n in zip(recipes, lengths, strict=True)]
        values = None
        if made and not any(p.stops for p in both):
            chunks = [Chunks(made[p.recipe.features].rows, p.rows, fps, first_frame=p.first_frame) for p in both]
            values = _value_difference(*chunks, encoder.name)
        compared.append(Comparison(*both, differences, values))
    return compared


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
    for index, frame in enumerate(shared):
        gap = a.at(frame).astype(np.float64) - b.at(frame)
        relative[index] = np.sqrt(np.square(gap.reshape(-1, n_layers, gap.shape[-1])).mean(axis=(0, 2))) / spread
    return ValueDifference(weights, shared, relative)


@dataclass(frozen=True)
class ComparisonMatrix:
    """Every recipe against every other at one frame rate."""

    fps: float | Fraction
    names: tuple[str, ...]
    pairs: dict[tuple[str, str], Comparison]

    def category(self, a: str, b: str) -> str:
        """Return the category of a pair, in either order."""
        return (self.pairs.get((a, b)) or self.pairs[b, a]).category

    def table(self) -> Table:
        """Return a sign for each pair."""
        cells = [
            [f"{i} {a}", *(SIGNS[self.category(a, b)] for b in self.names)] for i, a in enumerate(self.names, start=1)
        ]
        caption = f"At {float(self.fps):g} fps: " + ", ".join(f"{sign} {category}" for category, sign in SIGNS.items())
        return Table(["", *map(str, range(1, len(self.names) + 1))], cells, caption)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def rate_table(comparisons: Iterable[Comparison]) -> Table:
    """Return a table of comparisons at several frame rates, a table row each."""
    head = ["fps", "frames in both", "other rows", "lag in ms", "against", "difference inside", "category"]
    return Table(head, [_summary(compared) for compared in comparisons])


def _summary(compared: Comparison) -> list[str]:
    rate, lags = f"{float(compared.a.fps):g}", [p.lag_text() for p in (compared.a, compared.b)]
    if compared.category == STOPS:
        return [rate, "–", "–", *lags, "–", STOPS]
    inside = compared.interior()
    values = compared.values.by_layer(inside) if compared.values and inside.any() else None
    gap = "–" if values is None else f"{values.min():.2g} to {values.max():.2g} std"
    return [rate, str(len(compared.shared)), str(compared.differing), *lags, gap, compared.category]


def compare_all(recipes: Iterable[str | Recipe] | None = None, *, fps: float | Fraction = 25) -> ComparisonMatrix:
    """Compare every recipe with every other, by index matrix and feature spec, over a minute.

    Parameters
    ----------
    recipes : iterable of Recipe or str, optional
        By default all of `RECIPES`.
    fps : float or Fraction, default 25
        Frame rate, as it is passed to all.

    Returns
    -------
    ComparisonMatrix
    """
    chosen = [recipe_of(recipe) for recipe in (RECIPES if recipes is None else recipes)]
    pairs = {(a.name, b.name): compare(a, b, fps=fps) for i, a in enumerate(chosen) for b in chosen[i:]}
    return ComparisonMatrix(fps, tuple(recipe.name for recipe in chosen), pairs)
