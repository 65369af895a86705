"""The answer of notebook 06: what preprocessing does to a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from musetools.features.encoder import Encoder
from musetools.lab.answer import Answer
from musetools.lab.effect.measure import TRAIN_FPS, Experiment, differences
from musetools.lab.effect.outcome import Agreement, Outcome
from musetools.lab.effect.report import effect_sentences
from musetools.lab.speech import Talker
from musetools.recipes.profile import COMMON_FPS

__all__ = ["Effect", "evaluate"]


@dataclass(frozen=True, eq=False, repr=False)
class Effect(Answer):
    """What preprocessing does to a model.

    Attributes
    ----------
    weights : str
        Name of the encoder.
    rates : tuple of float
        The frame rates of `grid`.
    matching, control : Outcome
        Training and inference alike; and a model of shuffled openings, which has nothing to learn.
    canonical : Outcome
        The matching model on chunks of the recipe musetools at 25 fps.
    grid : dict of str to tuple of (Outcome or None)
        By inference recipe, an outcome for each frame rate; None where the recipe stops.
    agreements : dict of str to Agreement
        By inference recipe, predictions at 25 fps against those from training's chunks.
    differing : dict of str to Outcome
        By single difference, at 25 fps.
    """

    weights: str
    rates: tuple[float, ...]
    matching: Outcome
    control: Outcome
    canonical: Outcome
    grid: dict[str, tuple[Outcome | None, ...]]
    agreements: dict[str, Agreement]
    differing: dict[str, Outcome]

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return effect_sentences(self.grid, self.differing, self.agreements, self.matching, self.control)


def evaluate(
    training: Sequence[Talker],
    held_out: Talker,
    encoder: Encoder,
    halved: Encoder,
    folder: Path,
    *,
    rates: Sequence[float] = COMMON_FPS,
) -> Effect:
    """Train on training's chunks, predict from those of every inference recipe: the answer of notebook 06.

    Parameters
    ----------
    training, held_out, encoder, folder
        As for `Experiment`.
    halved : Encoder
        The same weights in bfloat16.
    rates : sequence of float
        Frame rates, 25 among them.

    Returns
    -------
    Effect

    Raises
    ------
    ParameterError
        If less than 4 s are held out.
    """
    experiment = Experiment(training, held_out, encoder, folder)
    model, grid, at_25 = experiment.model("v1.5"), experiment.grid(rates=rates), list(rates).index(TRAIN_FPS)
    return Effect(
        encoder.name,
        tuple(rates),
        experiment.trained(model),
        experiment.outcome("musetools", model=experiment.model("v1.5", shuffled=True)),
        experiment.outcome("musetools", model=model),
        grid,
        {name: experiment.agreement(outcomes[at_25]) for name, outcomes in grid.items() if outcomes[at_25]},
        differences(experiment, halved),
    )
