"""A model learns mouth openings from training's chunks, and predicts from those of every inference recipe."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from musetools.chunks.rows import chunk_rows, row_lag_ms
from musetools.errors import ParameterError, RecipeError
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.lab.effect.outcome import EDGE_S, Agreement, Model, Outcome, ridge
from musetools.lab.speech import Talker
from musetools.recipes.recipe import RECIPES, Recipe, add_positions, recipe_of
from musetools.timing import COMMON_FPS, ROW_SAMPLES, SAMPLE_RATE
from musetools.train.dataset import ChunkDataset
from musetools.train.store import FeatureStore

__all__ = ["INFERENCE", "SIDES", "TRAIN_FPS", "Experiment", "differences", "published"]

TRAIN_FPS = 25  # what MuseTalk converts every training video to
LIVE = FeatureSpec.named("live")
SIDES = {  # how a training side makes features, and its edge rule
    "v1": (RECIPES["musetalk-v1-train"].features, "drop"),
    "v1.5": (RECIPES["musetalk-v1.5-train"].features, "zeros"),
    "live": (LIVE, "drop"),
}
INFERENCE = tuple(name for name in RECIPES if not name.endswith("-train"))


class Experiment:
    """Speech to train on, speech held out, an encoder, and what is made of them, each thing once.

    Stores are written to a folder, one a training side.
    """

    def __init__(self, training: Sequence[Talker], held_out: Talker, encoder: Encoder, folder: Path):
        if held_out.duration_s < 4 * EDGE_S:
            raise ParameterError(f"hold out {4 * EDGE_S:g} s of speech or more; got {held_out.duration_s:.2f} s")
        names = [talker.name for talker in training]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ParameterError(f"clips to train on need names of their own; got {', '.join(twice)} twice. Rename one")
        self.training, self.held_out, self.encoder, self.folder = list(training), held_out, encoder, Path(folder)
        made_once = self.dataset, self.model, self.features, self.trained
        self.dataset, self.model, self.features, self.trained = map(cache, made_once)

    def dataset(self, side: str, *, held_out: bool = False) -> ChunkDataset:
        """Return training's chunks, from a store, of the clips to train on or of the held-out speech."""
        spec, edge = SIDES[side]
        talkers = {t.name: t for t in ([self.held_out] if held_out else self.training)}
        store = FeatureStore.create(self.folder / f"{side}{'-held-out' * held_out}", spec, self.encoder)
        for name, talker in talkers.items():
            n_frames = int(talker.duration_s * TRAIN_FPS)
            store.add(name, (talker.waveform, SAMPLE_RATE), self.encoder, fps=TRAIN_FPS, n_frames=n_frames)

        def opening(clip: str, frame: int) -> dict[str, torch.Tensor]:
            return {"opening": torch.tensor(talkers[clip].at(frame / TRAIN_FPS))}

        return ChunkDataset(store, TRAIN_FPS, edge=edge, frames=opening)

    def model(self, side: str, *, positional_encoding: bool = False, shuffled: bool = False) -> Model:
        """Return the model of a training side; with `shuffled` openings it has nothing to learn: the control."""
        batch = _whole(self.dataset(side))
        chunks, openings = batch["audio"].numpy(), batch["opening"].numpy()
        if shuffled:
            openings = np.random.default_rng(0).permutation(openings)
        given = add_positions(chunks) if positional_encoding else chunks
        return Model(side, positional_encoding, *ridge(given, openings))

    def features(self, spec: FeatureSpec, encoder: Encoder | None = None) -> np.ndarray:
        """Return the held-out speech's features."""
        return audio2feat((self.held_out.waveform, SAMPLE_RATE), encoder or self.encoder, spec=spec)

    def outcome(
        self,
        recipe: str | Recipe,
        fps: float = TRAIN_FPS,
        *,
        model: Model | None = None,
        features: np.ndarray | None = None,
        positional_encoding: bool | None = None,
    ) -> Outcome:
        """Predict the held-out speech from a recipe's chunks; RecipeError if the recipe stops at this frame rate.

        By default by the model of the recipe's version (v1 or v1.5), from the recipe's own features, positional
        encoding added on both sides as the recipe does.
        """
        recipe, n_samples = recipe_of(recipe), len(self.held_out.waveform)
        chunks = recipe.chunks(self.features(recipe.features) if features is None else features, n_samples, fps)
        if model is None:
            side = "v1.5" if recipe.features.final_norm else "v1"
            model = self.model(side, positional_encoding=recipe.positional_encoding)
        added = recipe.positional_encoding if positional_encoding is None else positional_encoding
        times = np.array(chunks.frames) / float(chunks.fps)
        inside = times < self.held_out.duration_s
        series = (values[inside] for values in (times, model.predict(chunks, added), chunks.lag_ms()))
        return Outcome(recipe.name, fps, model, *series, self.held_out)

    def grid(self) -> dict[tuple[str, float], Outcome]:
        """Return the outcome of each inference recipe at each common frame rate, where it does not stop."""
        outcomes = {}
        for name, fps in product(INFERENCE, COMMON_FPS):
            with suppress(RecipeError):
                outcomes[name, fps] = self.outcome(name, fps)
        return outcomes

    def trained(self, model: Model) -> Outcome:
        """Predict the held-out speech from the chunks of the model's own training side."""
        batch = _whole(self.dataset(model.side, held_out=True))
        prediction, frames = model.predict(batch["audio"].numpy(), model.positional_encoding), batch["frame"].numpy()
        rows = chunk_rows(len(self.held_out.waveform) // ROW_SAMPLES, TRAIN_FPS, edge="zeros")
        lag, name = row_lag_ms(rows, TRAIN_FPS)[frames], f"training's chunks, {model.side}"
        return Outcome(name, TRAIN_FPS, model, frames / TRAIN_FPS, prediction, lag, self.held_out)

    def agreement(self, outcome: Outcome) -> Agreement:
        """Compare an outcome at 25 fps with what its model predicts from training's chunks of the same speech."""
        trained = self.trained(outcome.model)
        _, ours, theirs = np.intersect1d(outcome.times_s, trained.times_s, return_indices=True)
        change = np.abs(outcome.prediction[ours] - trained.prediction[theirs])
        edge = np.isnan(outcome.lag_ms[ours]) | np.isnan(trained.lag_ms[theirs])
        inside, outside = change[~edge], change[edge]
        largest = [float(part.max(initial=0)) for part in (inside, outside)]
        return Agreement(len(inside), int((inside == 0).sum()), len(outside), *largest)


def _whole(dataset: ChunkDataset) -> dict[str, torch.Tensor]:
    """Return all items as a loader gives them, in one batch."""
    return next(iter(DataLoader(dataset, batch_size=len(dataset))))


def published(experiment: Experiment) -> dict[str, Outcome]:
    """Return what MuseTalk's own pairs do at 25 fps, as they are run, by version, v1.5's first.

    The model learned from the training recipe's chunks, positional encoding added there or not, and predicts from the
    inference recipe's, where it is added or not: v1.5's training adds none, its inference does (K1).
    """
    outcomes = {}
    for side in ("v1.5", "v1"):
        model = experiment.model(side, positional_encoding=RECIPES[f"musetalk-{side}-train"].positional_encoding)
        outcomes[side] = experiment.outcome(f"musetalk-{side}-infer", model=model)
    return outcomes


def differences(experiment: Experiment, halved: Encoder) -> dict[str, Outcome]:
    """Return what single differences do at 25 fps, apart from timing: all are chunked as "musetools" does.

    `halved` are the weights in bfloat16. All are to be compared with ``experiment.outcome("musetools")``.
    """
    plain, placed = (experiment.model("v1.5", positional_encoding=added) for added in (False, True))
    ours, v1 = (RECIPES[name].features for name in ("musetools", "musetalk-v1-infer"))
    canonical, live = experiment.features(ours), experiment.features(LIVE)

    def outcome(features: np.ndarray, model: Model = plain, *, positional_encoding: bool = False) -> Outcome:
        return experiment.outcome("musetools", model=model, features=features, positional_encoding=positional_encoding)

    return {
        "features stored in float16": outcome(canonical.astype(np.float16)),
        "encoder in bfloat16": outcome(experiment.features(ours, halved)),
        "positional encoding on both sides": outcome(canonical, placed, positional_encoding=True),
        "positional encoding at inference alone": outcome(canonical, positional_encoding=True),
        "positional encoding in training alone": outcome(canonical, placed),
        "v1 features into a v1.5-trained model": outcome(experiment.features(v1)),
        "live features into an offline-trained model": outcome(live),
        "live features into a live-trained model": outcome(live, experiment.model("live")),
    }
