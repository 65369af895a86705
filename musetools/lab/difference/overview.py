"""Comparisons and profiles in tables: two recipes at several frame rates, every recipe over a minute, every pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from musetools.lab.answer import Answer
from musetools.lab.difference.measure import SIGNS, STOPS, Comparison, compare
from musetools.recipes.profile import Profile, profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.table import Table
from musetools.timing import COMMON_FPS

__all__ = ["LagTable", "compare_all", "lag_table", "rate_table"]


def rate_table(comparisons: Iterable[Comparison]) -> Table:
    """Make a table of comparisons at several frame rates, a table row each.

    Parameters
    ----------
    comparisons : iterable of Comparison
        Two recipes at several frame rates.

    Returns
    -------
    Table
    """
    head = ["fps", "frames in both", "other rows", "lag in ms", "against", "difference inside", "category"]
    return Table(head, [_table_row(compared) for compared in comparisons])


def _table_row(compared: Comparison) -> list[str]:
    rate, lags = f"{compared.fps:.5g}", [p.lag_text() for p in (compared.a, compared.b)]
    if compared.stops:
        return [rate, "–", "–", *lags, "–", STOPS]
    inside, gap = compared.interior(), "–"
    if compared.values and inside.any():
        values = compared.values.by_layer(inside)
        gap = f"{values.min():.2g} to {values.max():.2g} std"
    return [rate, str(len(compared.shared)), str(compared.differing), *lags, gap, compared.category]


@dataclass(frozen=True, repr=False)
class LagTable(Answer):
    """Lag and drift of recipes over a minute, a table row each, a column for each frame rate."""

    fps: tuple[float | Fraction, ...]
    recipes: dict[str, tuple[Profile, ...]]

    def table(self) -> Table:
        """Return lag and drift as text."""
        lines = [[name, *(p.lag_text() for p in profiles)] for name, profiles in self.recipes.items()]
        return Table(["lag in ms at", *(f"{float(fps):g} fps" for fps in self.fps)], lines)


def lag_table(fps: Sequence[float | Fraction] = COMMON_FPS, recipes: Iterable[str | Recipe] = RECIPES) -> LagTable:
    """Make the table of lag and drift over a minute.

    Parameters
    ----------
    fps : sequence of float or Fraction
        Frame rates, a column each.
    recipes : iterable of Recipe or str
        By default all of `RECIPES`.

    Returns
    -------
    LagTable
    """
    return LagTable(tuple(fps), {r.name: tuple(profile(r, fps=rate) for rate in fps) for r in map(recipe_of, recipes)})


def compare_all(recipes: Iterable[str | Recipe] = RECIPES, *, fps: float | Fraction = 25) -> Table:
    """Compare every recipe with every other, by index matrix and feature spec, over a minute.

    Parameters
    ----------
    recipes : iterable of Recipe or str
        By default all of `RECIPES`.
    fps : float or Fraction, default 25
        Frame rate, as it is passed to all.

    Returns
    -------
    Table
        A sign for each pair.
    """
    chosen = list(map(recipe_of, recipes))
    signs = {(a.name, b.name): SIGNS[compare(a, b, fps=fps).category] for i, a in enumerate(chosen) for b in chosen[i:]}
    lines = [
        [f"{i} {a.name}", *(signs.get((a.name, b.name)) or signs[b.name, a.name] for b in chosen)]
        for i, a in enumerate(chosen, start=1)
    ]
    caption = f"At {float(fps):g} fps: " + ", ".join(f"{sign} {category}" for category, sign in SIGNS.items())
    return Table(["", *map(str, range(1, len(chosen) + 1))], lines, caption)
