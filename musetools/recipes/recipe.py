"""A named pipeline: how it makes features, which rows each frame takes, and on what input it stops."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from html import escape

import numpy as np

from musetools.chunks.rows import ZERO_ROW, checked_context, checked_count, checked_rows, checked_size
from musetools.chunks.sequence import Chunks
from musetools.errors import ParameterError, RecipeError
from musetools.features.spec import FeatureSpec
from musetools.recipes.rows import Context, Cut
from musetools.timing import frame_count

__all__ = ["RECIPES", "Recipe", "add_positions", "recipe_of", "register", "sinusoids"]


@dataclass(frozen=True)
class Recipe:
    """A named pipeline: how it makes features, how it makes chunks.

    Parameters
    ----------
    name : str
        What it is called.
    features : FeatureSpec or str
        How it makes features.
    cut : callable
        ``(n_samples, fps, context) -> (first_frame, rows)``: the number of the first frame that gets a chunk, and the
        index matrix.
    positional_encoding : bool
        Whether `add_positions` is applied to the chunk before the model sees it.
    source : str
        Repository and file.
    version : str
        Version or date of what was read.
    note : str
        What to know of it, and on what input it stops.
    """

    name: str
    features: FeatureSpec
    cut: Callable[[int, float | Fraction, Context], Cut]
    positional_encoding: bool
    source: str
    version: str
    note: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", FeatureSpec.named(self.features))

    def chunk_rows(self, n_samples: int, fps: float | Fraction, context: Context = (2, 2)) -> np.ndarray:
        """Return which feature rows each frame takes.

        Parameters
        ----------
        n_samples : int
            Length of the waveform, 16 kHz.
        fps : float or Fraction
            Video frames per second, as they would be passed to the pipeline.
        context : (int, int), default (2, 2)
            Frames of audio taken left and right of a frame.

        Returns
        -------
        ndarray of int64, shape (n_frames, rows_per_chunk)
            Row numbers on the clip's axis, -1 for a row of zeros; a line for each frame that the pipeline returns.

        Raises
        ------
        RecipeError
            If the pipeline stops on this input.
        ParameterError
            If an argument is out of range.
        """
        return self.first_frame_and_rows(n_samples, fps, context)[1]

    def chunks(self, features: np.ndarray, n_samples: int, fps: float | Fraction, context: Context = (2, 2)) -> Chunks:
        """Cut features as the pipeline does.

        Parameters
        ----------
        features : ndarray, shape (n_rows, n_layers, width)
            What ``audio2feat(source, encoder, spec=recipe.features)`` returns.
        n_samples, fps, context
            As in `chunk_rows`.

        Returns
        -------
        Chunks

        Raises
        ------
        RecipeError, ParameterError
            As `chunk_rows`; also if the features lack rows that the pipeline takes.
        """
        first, rows = self.first_frame_and_rows(n_samples, fps, context)
        if rows.max(initial=ZERO_ROW) >= len(features):
            raise ParameterError(
                f"{self.name} at {float(fps):.6g} fps takes rows up to {rows.max()} of {n_samples} samples, the "
                f"features have {len(features)}. Make them with spec=RECIPES[{self.name!r}].features; if they were, "
                "the pipeline takes rows beyond the clip at this frame rate: choose a lower one"
            )
        return Chunks(features, rows, fps, first_frame=first)

    def model_input(self, chunks: Chunks, frame: int) -> np.ndarray:
        """Return what the model is given for a frame: its chunk, with positional encoding where the pipeline adds it.

        Parameters
        ----------
        chunks : Chunks
            What `chunks` returned.
        frame : int
            Number of the video frame.

        Returns
        -------
        ndarray of float32, shape (rows_per_chunk · n_layers, width)

        Raises
        ------
        ParameterError
            If the frame has no chunk.
        """
        chunk = chunks.at(frame)
        return add_positions(chunk) if self.positional_encoding else chunk

    def first_frame(self, n_samples: int, fps: float | Fraction, context: Context = (2, 2)) -> int:
        """Return the number of the frame that the first line of `chunk_rows` belongs to."""
        return self.first_frame_and_rows(n_samples, fps, context)[0]

    def first_frame_and_rows(self, n_samples: int, fps: float | Fraction, context: Context = (2, 2)) -> Cut:
        """Return `first_frame` and `chunk_rows`."""
        # what is no frame rate or no length at all is an error of the caller, not a fault of the pipeline
        n_samples = checked_count("n_samples", n_samples)
        checked_size(frame_count(n_samples, fps), checked_context(context))
        try:
            first, rows = self.cut(n_samples, fps, checked_context(context))
            return int(first), checked_rows(rows)
        except ParameterError:
            raise
        except (Exception, SystemExit) as error:  # whatever a cut of the user's raises
            known = isinstance(error, RecipeError)
            why = str(error) if known else f"{type(error).__name__}: {error}"
            message = f"{self.name} stops on {n_samples} samples at {float(fps):.5g} fps: {why}"
            raise RecipeError(message, error.original if known else type(error)) from None

    def __repr__(self) -> str:
        return f"Recipe({self.name!r}, {self.version}, {self.source})"

    def _repr_html_(self) -> str:
        name, version, source, note = map(escape, (self.name, self.version, self.source, self.note))
        return f"<b>{name}</b> ({version}, <code>{source}</code>): {note}"


RECIPES: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Add a recipe to `RECIPES`, so that it can be named wherever a recipe is.

    Raises
    ------
    ParameterError
        If another recipe has this name, or it is no recipe.
    """
    if not isinstance(recipe, Recipe):
        raise ParameterError(f"a Recipe is registered; got {type(recipe).__name__}. Make one: musetools.Recipe(...)")
    if RECIPES.setdefault(recipe.name, recipe) is not recipe:
        raise ParameterError(f"there is a recipe {recipe.name!r} already: choose another name")
    return recipe


def add_positions(chunks: np.ndarray) -> np.ndarray:
    """Add MuseTalk's sinusoidal positional encoding to chunks.

    Parameters
    ----------
    chunks : ndarray of float, shape (..., rows, width)
        Chunks, ``(50, 384)`` each for Whisper tiny.

    Returns
    -------
    ndarray of float32, same shape
        Row p gets ``sin(p / 10000^(2k/width))`` in its even, the cosine in its odd dimensions.

    Notes
    -----
    Source: ``PositionalEncoding`` in ``musetalk/models/unet.py`` (TMElyralab/MuseTalk).
    """
    return (chunks + sinusoids(*chunks.shape[-2:])).astype(np.float32, copy=False)


def sinusoids(rows: int, width: int) -> np.ndarray:
    """Return what `add_positions` adds to each chunk, float32 (rows, width)."""
    rate = np.exp(np.arange(0, width, 2) * (-math.log(10000.0) / width))
    angle = np.arange(rows)[:, None] * rate
    encoding = np.empty((rows, width), np.float32)
    encoding[:, 0::2], encoding[:, 1::2] = np.sin(angle), np.cos(angle)
    return encoding


def recipe_of(recipe: str | Recipe) -> Recipe:
    """Return the recipe of a name; a recipe is returned as it is; ParameterError if there is none of this name."""
    if isinstance(recipe, Recipe):
        return recipe
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise ParameterError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}, and what register() adds")
    return RECIPES[recipe]
