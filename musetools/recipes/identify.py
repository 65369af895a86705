"""Which known recipe gives an index matrix, best first."""

import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from operator import attrgetter
from typing import Any

import numpy as np

from musetools.chunks.rows import checked_context, checked_count, checked_rows
from musetools.errors import ParameterError, RecipeError
from musetools.recipes.profile import WindowLag, window_lag
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.recipes.rows import Context, Cut
from musetools.recipes.trace import Trace, TraceError, trace_rows
from musetools.table import ShownAsText, Table
from musetools.timing import ROW_RATE, ROW_SAMPLES, exact_fps

__all__ = ["RowsMatch", "RowsMatches", "chunker_named", "identify_rows", "trace_at_rates", "traced_recipe"]

DRIFTS = 0.5  # ms per second of clip: less is the rounding of frames to rows


@dataclass(frozen=True)
class RowsMatch:
    """How well a recipe's matrix agrees with a given one."""

    recipe: str  # its name
    equal: float  # share of the frames that both have whose rows are equal, of all frames of either
    first_difference: int | None  # the first frame whose rows differ; None where all that both have are equal
    n_frames: int  # that the recipe gives
    rows_apart: float  # mean distance of the rows that both give
    lag: WindowLag  # of the recipe

    def __repr__(self) -> str:
        where = "" if self.first_difference is None else f", first other at frame {self.first_difference}"
        return f"{self.recipe}: {100 * self.equal:.1f} % of the frames equal{where}, {self.n_frames} frames"


class RowsMatches(ShownAsText, tuple[RowsMatch, ...]):
    """Recipes, best first."""

    lag: WindowLag  # of the matrix that was given
    n_frames: int

    def summary(self) -> str:
        """Say which recipe it is, or which is nearest and in what they differ."""
        if not self:
            return "no known recipe gives chunks of so many rows at such places"
        best = self[0]
        same = [match.recipe for match in self if match.equal == 1]
        if same:
            return f"it is {' or '.join(same)}: every row of every frame is equal"
        differ = []
        if best.n_frames != self.n_frames:
            differ.append(f"{self.n_frames - best.n_frames:+d} frames")
        if abs(best.lag.mean_ms - self.lag.mean_ms) > 0.5:
            differ.append(f"{self.lag.mean_ms - best.lag.mean_ms:+.0f} ms of lag")
        if abs(best.lag.drift_ms_s - self.lag.drift_ms_s) > DRIFTS:
            differ.append(f"{self.lag.drift_ms_s - best.lag.drift_ms_s:+.1f} ms/s of drift")
        if best.first_difference is not None:
            differ.append(f"other rows from frame {best.first_difference} on")
        return f"it is none of them: nearest is {best.recipe}, but for {', '.join(differ) or 'some rows'}"

    def __repr__(self) -> str:
        return "\n".join([self.summary(), *map(repr, self)])


def identify_rows(
    rows: np.ndarray, fps: float | Fraction, *, n_rows: int | None = None, context: Context | None = None
) -> RowsMatches:
    """Find the known recipes that give an index matrix.

    Parameters
    ----------
    rows : ndarray of int, shape (n_frames, rows_per_chunk), or Trace
        The matrix; -1 for a row of zeros.
    fps : float or Fraction
        Video frames per second, as they were passed to the chunker.
    n_rows : int, optional
        Feature rows that there were; by default one more than the largest.
    context : (int, int), optional
        Frames of audio taken left and right; by default those of the published models for chunks of ten rows, else
        whatever the number of rows and the first interior frame show.

    Returns
    -------
    RowsMatches
        Best first; recipes that stop on this input are left out.

    Raises
    ------
    ParameterError
        If it is no index matrix.
    """
    rows = checked_rows(rows)
    if not rows.size:
        raise ParameterError(f"an index matrix is of one frame or more; got {rows.shape}. See trace_rows")
    n_samples = (int(rows.max()) + 1 if n_rows is None else checked_count("n_rows", n_rows)) * ROW_SAMPLES
    context = checked_context(context) if context else _context(rows, fps)
    matches = [match for recipe in RECIPES.values() if (match := _match(recipe, rows, n_samples, fps, context))]
    found = RowsMatches(sorted(matches, key=_nearness))
    found.n_frames, found.lag = len(rows), window_lag(rows, fps)
    return found


def _nearness(match: RowsMatch) -> tuple[float, float]:
    """Order matches by the share of frames that are equal; below the half that is chance, and distance counts."""
    return -match.equal if match.equal > 0.5 else 0.0, match.rows_apart


def _context(rows: np.ndarray, fps: float | Fraction) -> Context:
    """Read the context off the frames whose rows follow each other."""
    total = rows.shape[1] // 2 - 1
    if rows.shape[1] == 10:
        return 2, 2
    inside = np.flatnonzero((np.diff(rows, axis=1) == 1).all(1) & (rows[:, 0] >= 0))
    if not len(inside):
        return total // 2, total - total // 2
    left = round((50 * inside[0] / float(exact_fps(fps)) - rows[inside[0], 0]) / 2)
    return min(max(left, 0), total), total - min(max(left, 0), total)


def _match(
    recipe: Recipe, rows: np.ndarray, n_samples: int, fps: float | Fraction, context: Context
) -> RowsMatch | None:
    try:
        first, theirs = recipe.first_frame_and_rows(n_samples, fps, context)
    except (RecipeError, ParameterError):
        return None
    if theirs.shape[1] != rows.shape[1]:
        return None
    shared = min(len(rows), len(theirs))
    same = (rows[:shared] == theirs[:shared]).all(1)
    other = np.flatnonzero(~same)
    first_difference = int(other[0]) if len(other) else None
    share = float(same.sum()) / max(len(rows), len(theirs))
    apart = float(np.abs(rows[:shared] - theirs[:shared]).mean()) if shared else np.inf
    lag = window_lag(theirs, fps, first_frame=first)
    return RowsMatch(recipe.name, share, first_difference, len(theirs), apart, lag)


def chunker_named(name: str) -> Callable[[np.ndarray, float], Any]:
    """Import the function that ``package.module:function`` names, from the working folder too.

    Raises
    ------
    ParameterError
        If there is no such module or function.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # it stays, for what the function itself imports when it is called
    try:
        found = attrgetter(function)(import_module(module))
    except (Exception, SystemExit) as error:  # whatever his module raises
        raise ParameterError(
            f"{name!r} cannot be imported ({type(error).__name__}: {error}). Name it package.module:function, from the "
            "folder that holds it; a script needs an `if __name__ == '__main__'`"
        ) from None
    if not callable(found):
        raise ParameterError(f"{name!r} is no function: got {type(found).__name__}. Name package.module:function")
    return found


def traced_recipe(name: str, like: str | Recipe) -> Recipe:
    """Make a recipe of anybody's chunker, so that it can be compared with the published ones.

    Parameters
    ----------
    name : str
        ``package.module:function``: a function of ``(features, fps)``; see `chunker_named`.
    like : Recipe or str
        The pipeline whose features it chunks, and whose positional encoding it adds.

    Returns
    -------
    Recipe
        Its index matrix is read off by `trace_rows`. Where the chunker stops, or gives chunks of another context than
        is asked for, it raises RecipeError.

    Raises
    ------
    ParameterError
        If there is no such function or recipe.
    """
    chunker, like = chunker_named(name), recipe_of(like)

    def cut(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
        wide = 2 * (sum(context) + 1)
        try:
            rows = _trace_at(chunker, n_samples // ROW_SAMPLES, fps).rows
        except TraceError as error:
            raise RecipeError(str(error)) from None
        if rows.shape[1] != wide:
            raise RecipeError(f"it gives chunks of {rows.shape[1]} rows, context {context} asks for {wide}")
        return 0, rows

    note = f"Traced. Features and positional encoding as {like.name}."
    return Recipe(name, like.features, cut, like.positional_encoding, name, "as imported", note)


def trace_at_rates(name: str, rates: Iterable[float], seconds: float) -> Table:
    """Trace the function of a name at some frame rates; a table of what it equals, or how it stops."""
    if not 0 < seconds < math.inf:  # NaN is refused, too
        raise ParameterError(f"seconds must be a number above 0; got {seconds!r}. Leave it out for a minute")
    chunker, n_rows = chunker_named(name), round(seconds * ROW_RATE)
    return Table(["fps", "frames", "lag in ms", "it"], [_traced(chunker, n_rows, fps) for fps in rates])


def _traced(chunker: Callable[[np.ndarray, float], Any], n_rows: int, fps: float) -> list[str]:
    try:
        trace = _trace_at(chunker, n_rows, fps)
    except TraceError as error:
        return [f"{fps:g}", "–", "–", str(error)]
    matches = identify_rows(trace, fps, n_rows=n_rows)
    notes = "; ".join([matches.summary(), *trace.notes])
    lag = f"{matches.lag.mean_ms:+.0f}"
    if abs(matches.lag.drift_ms_s) > DRIFTS:
        lag = f"mean {lag}, drift {matches.lag.drift_ms_s:+.1f} ms/s"
    return [f"{fps:g}", str(len(trace.rows)), lag, notes]


def _trace_at(chunker: Callable[[np.ndarray, float], Any], n_rows: int, fps: float | Fraction) -> Trace:
    """Trace a function of features and frame rate; a whole rate is passed as an int, as code is usually called."""
    fps = float(fps)
    given = int(fps) if fps.is_integer() else fps
    return trace_rows(lambda features: chunker(features, given), n_rows)
