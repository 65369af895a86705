"""What the drop-in classes share: recipes whose faults are the original's own exceptions, chunks by row numbers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from musetools.chunks.sequence import Chunks
from musetools.errors import RecipeError
from musetools.recipes import RECIPES
from musetools.recipes.recipe import Recipe
from musetools.timing import ROW_RATE, ROW_SAMPLES

__all__ = ["chunks_of", "recipe_named", "rows_of", "taken_at"]


def recipe_named(published: str, *, mended: bool) -> Recipe:
    """Return the published recipe, or the canonical one in its place."""
    return RECIPES["musetools" if mended else published]


def chunks_of(recipe: Recipe, features: np.ndarray, fps: float, context: Sequence[int]) -> Chunks:
    """Return a recipe's chunks of features; errors as the original raises them."""
    with _as_the_original():
        return recipe.chunks(features, len(features) * ROW_SAMPLES, _checked(fps), tuple(context))


def rows_of(recipe: Recipe, n_samples: int, fps: float, context: Sequence[int]) -> np.ndarray:
    """Return a recipe's index matrix; errors as the original raises them."""
    with _as_the_original():
        return recipe.chunk_rows(n_samples, _checked(fps), tuple(context))


def taken_at(features: np.ndarray, rows: Iterable[int]) -> tuple[np.ndarray, list[int]]:
    """Take rows, clamped at the ends, and join them to a chunk; return the rows that were taken, too."""
    taken = np.clip(list(rows), 0, len(features) - 1)
    return features[taken].reshape(-1, features.shape[-1]), taken.tolist()


@contextmanager
def _as_the_original() -> Iterator[None]:
    """Turn what stops a recipe into what the original raises, unless that ends the process."""
    try:
        yield
    except RecipeError as error:
        if error.original is SystemExit:
            raise
        raise error.original(str(error)) from error


def _checked(fps: float) -> float:
    """Fail as the originals do, whose first use of fps is to divide by it."""
    _ = ROW_RATE / fps
    return fps
