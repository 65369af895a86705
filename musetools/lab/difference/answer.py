"""The answer of notebook 01: training's and inference's chunks of a clip, and what becomes of each frame."""

import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from musetools.audio.load import load_audio
from musetools.chunks.sequence import Chunks
from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.lab.answer import Answer
from musetools.lab.difference.causes import CAUSE_OF, EVERY_PAIR, SHADE, Cause, Causes
from musetools.lab.difference.measure import ALONE, Comparison, Made, compare_features, make_features
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.table import Table
from musetools.timing import COMMON_FPS

__all__ = ["Difference", "Outcomes", "evaluate", "outcomes"]

CANONICAL = "canonical"  # what the recipe musetools is called beside the two that are compared


@dataclass(frozen=True, eq=False, repr=False)
class Difference(Answer):
    """Training's and inference's chunks of one clip, and how they differ."""

    waveform: np.ndarray  # float32, (n_samples,): the clip, mono, 16 kHz
    features: Made  # what the recipes made of it
    recipes: dict[str, Recipe]  # training's, inference's, the own one by name, and the recipe musetools as "canonical"
    chunks: dict[str, Chunks]  # by the same names
    comparisons: list[Comparison]  # training against inference, at the clip's frame rate and then at `COMMON_FPS`
    minute: Comparison  # at the clip's frame rate, over a minute

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
            raise ParameterError(f"{self.compared.pair} have no frame in common: use a longer clip")
        if not relative.any():
            return int(shared[len(shared) // 2])
        inside = np.where(self.compared.interior(), relative, 0)
        return int(shared[(inside if inside.any() else relative).argmax()])

    def rows_of(self, name: str) -> np.ndarray:
        """Return the features that a recipe made."""
        return self.features[self.recipes[name].features][0]

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
    features: Made | None = None,
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
    features : dict, optional
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
    chunks = {name: recipe.chunks(*made[recipe.features], fps, context) for name, recipe in recipes.items()}
    if folder is not None:
        rows, n_samples = made[train.features]
        saved = Path(folder) / "clip.npy"
        np.save(saved, rows, allow_pickle=False)
        mapped = np.load(saved, mmap_mode="r", allow_pickle=False)
        chunks[train.name] = train.chunks(mapped, n_samples, fps, context)
    compared = [
        compare_features(train, infer, made, encoder.name, fps=rate, context=context) for rate in (fps, *COMMON_FPS)
    ]
    minute = compare_features(train, infer, {}, fps=fps, context=context)
    return Difference(waveform, made, recipes, chunks, compared, minute)


@dataclass(frozen=True, eq=False, repr=False)
class Outcomes(Answer):
    """What becomes of each frame of one or more pairs of recipes."""

    found: dict[str, tuple[Comparison, Comparison]]  # on the clip and over a minute, by the sentence that says it

    def all(self) -> list[Comparison]:
        """Return every comparison, pair by pair."""
        return [compared for both in self.found.values() for compared in both]

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return list(self.found)

    def conclusion(self, causes: Causes) -> Table:
        """Return what each pair does differently and what `causes` say that it costs, the most costly first."""
        lines = []
        for clip, _ in self.found.values():
            made = [name for name, *_ in clip.spec_differences]
            lines += [(clip.pair, causes[CAUSE_OF[name]]) for name in made if name in CAUSE_OF]
            lines += [] if made else [(clip.pair, None)]
        lines += [("every pair, where clips are cut from longer ones", causes[name]) for name in EVERY_PAIR]
        lines.sort(key=lambda line: -line[1].cost if line[1] else 0.0)
        cells = [_concluded(*line) for line in lines]
        caption = f"Largest rms of a layer over the content's standard deviation · weights: {causes.weights}."
        return Table(["pair", "what differs", "costs", "safe?"], cells, caption, [SHADE[line[-1]] for line in cells])


def _concluded(pair: str, cause: Cause | None) -> list[str]:
    if cause is None:
        return [pair, "nothing but the frames at the ends", "0", "yes"]
    return [pair, cause.name, f"{cause.cost:.2g}", cause.verdict]


def outcomes(*answers: Difference, clip: str) -> Outcomes:
    """Say what becomes of each frame: of the clip that was compared, and over a minute by index matrix alone.

    Parameters
    ----------
    *answers : Difference
        What `evaluate` returned, for each pair; the same pair twice counts once.
    clip : str
        Name of the clip.

    Returns
    -------
    Outcomes
    """
    found = [(replace(answer.compared, where=clip), answer.minute) for answer in answers]
    return Outcomes({_sentence(*both): both for both in found})


def _sentence(clip: Comparison, minute: Comparison) -> str:
    equal, shared, how = clip.values.equal, clip.shared, " and ".join(clip.made_differently)
    said = [f"{clip.pair} at {clip.fps:.5g} fps: {_alike(clip)} take the same rows, {_alike(minute)}"]
    said.append(f"{len(equal)} of {clip.where}'s {len(shared)} chunks are equal bit for bit")
    if how:
        said.append(f"the two differ in {how}")
    elif len(equal) == len(shared) > 0:
        said.append("so where both have a chunk, the difference between the two ways of chunking has no effect")
    if alone := clip.counts()[ALONE]:
        said.append(f"{alone} {'frame has' if alone == 1 else 'frames have'} a chunk on one side alone")
    return "; ".join(said) + "."


def _alike(compared: Comparison) -> str:
    differ = compared.rows_differ() > 0
    inside, same = compared.shared[compared.interior() & differ], compared.shared[~differ]
    text = f"{(~differ).sum()} of the {len(differ)} frames that both have in {compared.where}"
    if len(inside):
        first = max(same[same < inside[0]], default=compared.shared[0] - 1) + 1  # may be at an edge
        return f"{text} (others from {first / compared.fps:.3g} s on)"
    return f"{text} (others at the edges)" if differ.any() else text
