"""The answer of notebook 01: training's and inference's chunks of one clip, and how they differ."""

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from musetools.audio.load import load_audio
from musetools.chunks.sequence import Chunks
from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.features.spec import FeatureSpec
from musetools.lab.answer import Answer
from musetools.lab.difference.measure import Comparison, Features, compare_at, make_features
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.timing import COMMON_FPS

__all__ = ["Difference", "evaluate"]

CANONICAL = "canonical"  # what the recipe musetools is called beside the two that are compared


@dataclass(frozen=True, eq=False, repr=False)
class Difference(Answer):
    """Training's and inference's chunks of one clip, and how they differ."""

    waveform: np.ndarray  # float32, (n_samples,): the clip, mono, 16 kHz
    features: dict[FeatureSpec, Features]  # what the recipes made of it
    recipes: dict[str, Recipe]  # training's, inference's, the own one by name, and the recipe musetools as "canonical"
    chunks: dict[str, Chunks]  # by the same names
    comparisons: list[Comparison]  # training against inference, at the clip's frame rate and then at `COMMON_FPS`
    context: tuple[int, int]  # frames of audio left and right of a frame

    @property
    def compared(self) -> Comparison:
        """The comparison at the clip's frame rate."""
        return self.comparisons[0]

    @property
    def sides(self) -> dict[str, Chunks]:
        """Chunks of training, of inference, and of the own chunker if there is one, by the names of the recipes."""
        return {name: chunks for name, chunks in self.chunks.items() if name != CANONICAL}

    def worst_frame(self) -> int:
        """Return the frame whose chunks differ most in values; one inside the clip, if any differs there.

        Raises
        ------
        ParameterError
            If the two sides have no frame in common.
        """
        shared, relative = self.compared.shared, self.compared.values.relative.max(axis=1)
        if not len(shared):
            raise ParameterError(f"{' and '.join(self.compared.names)} have no frame in common: use a longer clip")
        if not relative.any():
            return int(shared[len(shared) // 2])
        inside = np.where(self.compared.interior(), relative, 0)
        return int(shared[(inside if inside.any() else relative).argmax()])

    def rows_of(self, name: str) -> np.ndarray:
        """Return the features that a recipe made."""
        return self.features[self.recipes[name].features].rows

    def model_inputs(self, frame: int) -> dict[str, np.ndarray]:
        """Return what a model is given for one frame, positions added where the recipe adds them, by name."""
        return {name: recipe.model_input(self.chunks[name], frame) for name, recipe in self.recipes.items()}

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return self.compared.sentences()


def evaluate(
    source: str | os.PathLike,
    train: str | Recipe,
    infer: str | Recipe,
    encoder: Encoder,
    *,
    fps: float | Fraction = 25,
    context: tuple[int, int] = (2, 2),
    folder: str | os.PathLike | None = None,
    own: Recipe | None = None,
    features: dict[FeatureSpec, Features] | None = None,
) -> Difference:
    """Chunk a clip as training and as inference do, and compare: the answer of notebook 01.

    Parameters
    ----------
    source : path
        Media file with speech.
    train, infer : Recipe or str
        The recipes of the two sides.
    encoder : Encoder
        The weights.
    fps : float or Fraction, default 25
        Video frames per second.
    context : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    folder : path, optional
        Where training's rows are saved as ``clip.npy``, to be read back mapped as a training loader does.
    own : Recipe, optional
        A third one to stand beside the two: `musetools.recipes.traced_recipe` makes it of any chunker.
    features : dict of FeatureSpec to Features, optional
        What these recipes make of the clip, where an earlier answer's `features` hold it; made here otherwise.

    Returns
    -------
    Difference

    Raises
    ------
    RecipeError
        If a recipe stops at this frame rate.
    AudioError, ParameterError
        As for `compare`.
    """
    train, infer = recipe_of(train), recipe_of(infer)
    recipes = {recipe.name: recipe for recipe in (train, infer, own) if recipe}
    recipes[CANONICAL] = RECIPES["musetools"]
    waveform, made = load_audio(source), features or make_features(source, encoder, recipes.values())
    rows = {name: made[recipe.features].rows for name, recipe in recipes.items()}
    if folder is not None:
        saved = Path(folder) / "clip.npy"
        np.save(saved, rows[train.name], allow_pickle=False)
        rows[train.name] = np.load(saved, mmap_mode="r", allow_pickle=False)
    chunks = {name: recipe.chunks(rows[name], len(waveform), fps, context) for name, recipe in recipes.items()}
    options = {"rates": (fps, *COMMON_FPS), "context": context, "encoder": encoder, "features": made}
    return Difference(waveform, made, recipes, chunks, compare_at(train, infer, **options), context)
