"""Which known recipe gives an index matrix, best first."""

import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import Any

import numpy as np

from musetools.chunks.rows import ZERO_ROW, checked_count, checked_rows
from musetools.chunks.sequence import first_rows
from musetools.errors import ParameterError, RecipeError
from musetools.recipes.profile import WindowLag, window_lag
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.recipes.rows import Context, Cut
from musetools.recipes.trace import Trace, TraceError, trace_rows
from musetools.table import ShownAsText, Table
from musetools.timing import ROW_RATE, ROW_SAMPLES, exact_fps

__all__ = ["Matches", "RowsMatch", "chunker_named", "identify_rows", "trace_at_rates", "traced_recipe"]

DRIFTS = 0.5  # ms per second of clip: less is the rounding of frames to rows


@dataclass(frozen=True)
class RowsMatch:
    """How well a recipe's matrix agrees with a given one."""

    recipe: str  # its name
    equal: float  # share of the frames that both have whose rows are equal, of all frames of either
    first_difference: int | None  # the first frame whose rows differ; None where all that both have are equal
    n_frames: int  # that the recipe gives
    rows_apart: float  # mean distance of the rows of these frames; a row lies as far from zeros as a chunk is long
    lag: WindowLag  # of the recipe
    first_frame: int  # number of the frame that its first chunk is of

    def __repr__(self) -> str:
        where = "" if self.first_difference is None else f", first other at frame {self.first_difference}"
        return f"{self.recipe}: {100 * self.equal:.1f} % of the frames equal{where}, {self.n_frames} frames"


class Matches(ShownAsText, tuple):
    """What was tried, best first."""

    message = ""  # what it is, in a sentence
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Say what it is, or what is nearest and in what they differ."""
        return self.message

    def __repr__(self) -> str:
        return "\n".join([self.message, *self.notes, *map(repr, self)])


def identify_rows(rows: np.ndarray, fps: float | Fraction, *, n_rows: int | None = None) -> Matches:
    """Find the known recipes that give an index matrix.

    Parameters
    ----------
    rows : ndarray of int, shape (n_frames, rows_per_chunk), or Trace
        The matrix; -1 for a row of zeros. Chunks of ten rows are taken for context (2, 2), others for the context that
        the first interior frame shows.
    fps : float or Fraction
        Video frames per second, as they were passed to the chunker.
    n_rows : int, optional
        Feature rows that there were; by default one more than the largest.

    Returns
    -------
    Matches
        `RowsMatch` of each recipe, best first, with `summary`; recipes that stop on this input are left out.

    Raises
    ------
    ParameterError
        If it is no index matrix.
    """
    rows = checked_rows(rows)
    if not rows.size:
        raise ParameterError(f"an index matrix is of one frame or more; got {rows.shape}. See trace_rows")
    n_rows = int(rows.max()) + 1 if n_rows is None else checked_count("n_rows", n_rows)
    context = _context(rows, fps)
    every = (_match(recipe, rows, n_rows * ROW_SAMPLES, fps, context) for recipe in RECIPES.values())
    found = Matches(sorted((match for match in every if match), key=partial(_nearness, len(rows))))
    found.message = _message(found, len(rows), window_lag(rows, fps), context)
    return found


def _message(found: Matches, n_frames: int, lag: WindowLag, context: Context) -> str:
    if not found:
        return "no known recipe gives chunks of so many rows at such places"
    wide = "" if context == (2, 2) else f" with context {context}"
    if same := [_named(match) for match in found if match.equal == 1]:
        return f"it is {' or '.join(same)}{wide}: every row of every frame is equal"
    best, differ = found[0], []
    if frames := n_frames - best.n_frames:
        differ.append(f"{frames:+d} frames")
    if abs(later := lag.mean_ms - best.lag.mean_ms) > 0.5:
        differ.append(f"{later:+.0f} ms of lag")
    if not math.isnan(later) and abs(drift := lag.drift_ms_s - best.lag.drift_ms_s) > DRIFTS:
        differ.append(f"{drift:+.1f} ms/s of drift")
    if best.first_difference is not None:
        differ.append(f"other rows from frame {best.first_difference} on")
    return f"it is none of them: nearest is {_named(best)}{wide}, but for {', '.join(differ)}"


def _named(match: RowsMatch) -> str:
    return match.recipe + (f" (its first chunk is of frame {match.first_frame})" if match.first_frame else "")


def _nearness(n_frames: int, match: RowsMatch) -> tuple[float, float, int]:
    """Order matches by the share of frames that are equal; below the half that is chance, and distance counts."""
    return -match.equal if match.equal > 0.5 else 0.0, match.rows_apart, abs(match.n_frames - n_frames)


def _context(rows: np.ndarray, fps: float | Fraction) -> Context:
    """Read the context off the first frame whose rows follow each other."""
    if rows.shape[1] == 10:
        return 2, 2
    total, first = rows.shape[1] // 2 - 1, first_rows(rows)
    left = total // 2
    if len(inside := np.flatnonzero(first != ZERO_ROW)):
        left = round((50 * inside[0] / float(exact_fps(fps)) - first[inside[0]]) / 2)
        left = min(max(left, 0), total)
    return left, total - left


def _match(
    recipe: Recipe, rows: np.ndarray, n_samples: int, fps: float | Fraction, context: Context
) -> RowsMatch | None:
    try:
        first, theirs = recipe.first_frame_and_rows(n_samples, fps, context)
    except (RecipeError, ParameterError):
        return None
    if theirs.shape[1] != rows.shape[1]:
        return None
    ours, same_frames = rows[: len(theirs)], theirs[: len(rows)]
    one_is_zeros = (ours == ZERO_ROW) != (same_frames == ZERO_ROW)
    apart = np.where(one_is_zeros, rows.shape[1], np.abs(ours - same_frames))
    other = np.flatnonzero(apart.any(axis=1))
    equal = (len(apart) - len(other)) / max(len(rows), len(theirs))
    lag = window_lag(theirs, fps, first_frame=first)
    first_difference = int(other[0]) if len(other) else None
    mean = float(apart.mean()) if len(apart) else np.inf
    return RowsMatch(recipe.name, equal, first_difference, len(theirs), mean, lag, first)


def chunker_named(name: str) -> Callable[[np.ndarray, float], Any]:
    """Import the function that ``package.module:function`` names, from the working folder too; or ParameterError."""
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
        ``package.module:function``: a function of ``(features, fps)``, imported from the working folder too.
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
        try:
            rows = _trace_at(chunker, n_samples // ROW_SAMPLES, fps).rows
        except TraceError as error:
            raise RecipeError(str(error)) from None
        if rows.shape[1] != (wide := 2 * (sum(context) + 1)):
            raise RecipeError(f"it gives chunks of {rows.shape[1]} rows, context {context} asks for {wide}")
        return 0, rows

    note = f"Traced. Features and positional encoding as {like.name}."
    return Recipe(name, like.features, cut, like.positional_encoding, name, "as imported", note)


def trace_at_rates(name: str, rates: Iterable[float], seconds: float) -> Table:
    """Trace the function of a name at some frame rates; a table of what it equals, or how it stops."""
    if not 0 < seconds < math.inf:  # NaN is refused, too
        raise ParameterError(f"seconds must be a number above 0; got {seconds!r}. Leave it out for a minute")
    chunker, n_rows, lines = chunker_named(name), round(seconds * ROW_RATE), []
    for fps in rates:
        try:
            trace = _trace_at(chunker, n_rows, fps)
        except TraceError as error:
            lines.append([f"{fps:g}", "–", "–", str(error)])
            continue
        matches = identify_rows(trace, fps, n_rows=n_rows)
        known = matches and matches[0].equal == 1  # then with which frame it starts, too
        lag = matches[0].lag if known else window_lag(trace.rows, fps)
        text = "–" if math.isnan(lag.mean_ms) else f"{lag.mean_ms:+.0f}"
        text = f"mean {text}, drift {lag.drift_ms_s:+.1f} ms/s" if abs(lag.drift_ms_s) > DRIFTS else text
        lines.append([f"{fps:g}", str(len(trace.rows)), text, "; ".join([matches.summary(), *trace.notes])])
    return Table(["fps", "frames", "lag in ms", "it"], lines)


def _trace_at(chunker: Callable[[np.ndarray, float], Any], n_rows: int, fps: float | Fraction) -> Trace:
    """Trace a function of features and frame rate; a whole rate is passed as an int, as code is usually called."""
    fps = float(fps)
    return trace_rows(lambda features: chunker(features, int(fps) if fps.is_integer() else fps), n_rows)
