"""The answer of notebook 06: what preprocessing does to a model, in sentences and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from musetools.features.encoder import Encoder
from musetools.lab.answer import Answer
from musetools.lab.effect.measure import INFERENCE, TRAIN_FPS, Experiment, differences, published
from musetools.lab.effect.outcome import Agreement, Outcome
from musetools.lab.speech import Talker
from musetools.recipes.profile import DRIFTS_MS_S
from musetools.table import SHADES, Table, signed
from musetools.timing import COMMON_FPS

__all__ = ["BAND_MS", "Effect", "evaluate"]

NOTHING, LITTLE = 0.01, 0.05  # costs in R² below which a difference counts as nothing, as little
CONSTANT = 0.5  # share of the squared error from which a constant is named
BAND_MS, BAND_MS_S = 15, 2  # how well delays and drifts are to agree
SHADE = {"much": SHADES["bad"], "little": SHADES["fair"], "nothing": SHADES["good"]}
LEARNED, UNLEARNED = 0.2, 0.1  # R² that the matching pair must exceed, and the control stay below


@dataclass(frozen=True, eq=False, repr=False)
class Effect(Answer):
    """What preprocessing does to a model."""

    weights: str  # name of the encoder
    published: dict[str, Outcome]  # MuseTalk's pairs as they are run, by version; the first one is asked about
    matching: Outcome  # training and inference alike
    control: Outcome  # a model of shuffled openings, which has nothing to learn
    grid: dict[tuple[str, float], Outcome]  # by inference recipe and common frame rate, where the recipe does not stop
    agreements: dict[str, Agreement]  # by recipe, at 25 fps
    differing: dict[str, Outcome]  # by single difference, at 25 fps

    @property
    def worst(self) -> Outcome:
        """The outcome of `grid` with the lowest R²."""
        return min(self.grid.values(), key=lambda outcome: outcome.r2)

    @property
    def pairs(self) -> dict[str, Outcome]:
        """The published pairs by their names in tables."""
        return {f"MuseTalk {side} as it is run, 25 fps": outcome for side, outcome in self.published.items()}

    @property
    def shown(self) -> dict[str, Outcome]:
        """Every outcome that has a cost, by what differs from the matching pair, the most costly first."""
        found = self.pairs | self.differing | {outcome.title: outcome for outcome in self.grid.values()}
        return dict(sorted(found.items(), key=lambda item: item[1].r2))

    @property
    def costs(self) -> dict[str, float]:
        """What each of `shown` costs in R²."""
        return {name: self.matching.r2 - outcome.r2 for name, outcome in self.shown.items()}

    def sentences(self) -> list[str]:
        """Write the answer in three sentences: the published pair, what costs most and nothing, whether it is valid."""
        valid, costs = self.matching.r2 > LEARNED and abs(self.control.r2) < UNLEARNED, self.costs
        (side, pair), (costliest, most) = next(iter(self.published.items())), next(iter(costs.items()))
        free = sum(c < NOTHING for c in costs.values())
        return [
            f"{'Preprocessing' if most >= LITTLE else 'No preprocessing'} has an effect on this model. The published "
            f"{side} pair as it is run reaches R² {pair.r2_text}, training's own chunks {self.matching.r2_text}: "
            f"{_why(pair)}.",
            f"Of {len(costs)} pairs and differences {free} cost less than {NOTHING:g} of R²; "
            f"the most costly is {costliest}: it costs {most:.2f} ({_why(self.shown[costliest])}).",
            f"The experiment is {'valid' if valid else 'not valid'}: R² of held-out speech is {self.matching.r2_text} "
            f"from training's chunks, {self.control.r2_text} for a model of shuffled openings. {self._of_delays()}",
        ]

    def _of_delays(self) -> str:
        ran, n_all = self.grid.values(), len(INFERENCE) * len(COMMON_FPS)
        late = max(abs(o.delay.ms - o.expected.mean_ms) for o in ran)
        drift = max(abs(o.delay.drift_ms_s - o.expected.drift_ms_s) for o in ran)
        return (
            f"Of {n_all} recipes and frame rates {n_all - len(ran)} stop; in the others the measured delay "
            f"{'agrees' if late <= BAND_MS and drift <= BAND_MS_S else 'does not always agree'} with the one expected "
            f"from the index matrix, within {late:.1f} ms and {drift:.2f} ms/s."
        )

    def cost_table(self) -> Table:
        """Return what every difference costs: first the published pair as it is run, then the most costly first."""
        shown, costs, first = self.shown, self.costs, next(iter(self.pairs))
        lines = [
            [name, signed(costs[name], 3), _verdict(costs[name]), shown[name].r2_text, _why(shown[name])]
            for name in dict.fromkeys([first, *shown])
        ]
        caption = (
            "Costs: R² from training's chunks less R² here. Recipes at a frame rate: their model was trained with "
            "positional encoding if they add it, so that time and features alone differ; the pairs as they are run are "
            "not mended so."
        )
        shades = [SHADE[verdict] for _, _, verdict, *_ in lines]
        return self._table(["what differs", "costs of R²", "verdict", "R²", "what is seen"], lines, caption, shades)

    def outcome_table(self) -> Table:
        """Return every recipe at every frame rate."""
        head = ["recipe", "fps", "trained on", "R²", "error", "first second", "last second"]
        head += ["delay in ms", "expected", "drift in ms/s", "expected"]
        lines = [[f"{o.recipe}, as it is run", f"{o.fps:g}", *_cells(o)] for o in self.published.values()]
        for name, fps in product(INFERENCE, COMMON_FPS):
            lines.append([name, f"{fps:g}", *_cells(self.grid.get((name, fps)))])
        caption = (
            f"Errors are root mean squares of an opening ({self.control.talker.unit}); R², error and delay without the "
            "first and last second. Positive delay: the mouth moves late."
        )
        return self._table(head, lines, caption)

    def difference_table(self) -> Table:
        """Return the pairs as they are run, the matching pair, then single differences at 25 fps, most costly first."""
        differing = dict(sorted(self.differing.items(), key=lambda item: item[1].r2))
        head = ["difference", "trained on", "R²", "error", "correlation", "mean offset"]
        lines = [
            [name, o.model.name, o.r2_text, f"{o.error:.3f}", f"{o.delay.correlation:.3f}", signed(o.bias, 3)]
            for name, o in {
                **self.pairs,
                "none: the matching pair": self.grid["musetools", TRAIN_FPS],
                **differing,
            }.items()
        ]
        unit = self.control.talker.unit
        return self._table(
            head, lines, f"25 fps, openings {unit}. Single differences are chunked by the recipe musetools."
        )

    def agreement_table(self) -> Table:
        """Return how far predictions from inference's chunks are those from training's."""
        head = ["recipe", "interior frames", "equal bit for bit", "largest change", "edge frames", "largest change"]
        lines = [
            [name, str(a.interior), str(a.equal), f"{a.interior_change:.2g}", str(a.edges), f"{a.edge_change:.2g}"]
            for name, a in self.agreements.items()
        ]
        caption = (
            "25 fps; against training's chunks of the same speech, same model. Frames that training drops are left out."
        )
        return self._table(head, lines, caption)

    def _table(self, head: list[str], lines: list[list[str]], caption: str, shades: Sequence[str] = ()) -> Table:
        return Table(head, lines, f"{caption} Weights: {self.weights}.", shades)


def _verdict(cost: float) -> str:
    return "nothing" if cost < NOTHING else "little" if cost < LITTLE else "much"


def _cells(outcome: Outcome | None) -> list[str]:
    if outcome is None:
        return ["stops", *[""] * 8]
    errors = [f"{error:.3f}" for error in (outcome.error, outcome.first_error, outcome.last_error)]
    delays = (outcome.delay.ms, outcome.expected.mean_ms, outcome.delay.drift_ms_s, outcome.expected.drift_ms_s)
    return [outcome.model.name, outcome.r2_text, *errors, *(signed(number, 1) for number in delays)]


def _why(outcome: Outcome) -> str:
    """Write what explains an outcome's cost: time, a constant, or the values themselves."""
    reasons, delay, drifts = [], outcome.delay, abs(outcome.delay.drift_ms_s) >= DRIFTS_MS_S
    if abs(delay.ms) >= BAND_MS or drifts:
        reasons.append(f"the mouth is {abs(delay.ms):.0f} ms {'late' if delay.ms > 0 else 'early'} on average")
    if drifts:
        side = "later" if delay.drift_ms_s > 0 else "earlier"
        reasons.append(f"{abs(delay.drift_ms_s):.2g} ms {side} with every second")
    if outcome.bias**2 >= CONSTANT * outcome.error**2:
        reasons.append(f"all openings move by {signed(outcome.bias, 2)} on average, a constant to a linear model")
    return ", ".join([*reasons, f"correlation {delay.correlation:.2f} without delay"])


def evaluate(training: Sequence[Talker], held_out: Talker, encoder: Encoder, halved: Encoder, folder: Path) -> Effect:
    """Train on training's chunks, predict from those of every inference recipe: the answer of notebook 06.

    Parameters
    ----------
    training : sequence of Talker
        Clips to train on.
    held_out : Talker
        Speech to predict, 4 s or more.
    encoder, halved : Encoder
        The weights, and the same in bfloat16.
    folder : path
        Where stores are written, one a training side.

    Returns
    -------
    Effect

    Raises
    ------
    ParameterError
        If less than 4 s are held out, or two clips to train on have one name.
    """
    return effect_of(Experiment(training, held_out, encoder, folder), halved)


def effect_of(experiment: Experiment, halved: Encoder) -> Effect:
    """Return what an experiment shows; `halved` are its weights in bfloat16."""
    model, grid = experiment.model("v1.5", positional_encoding=False), experiment.grid()
    return Effect(
        experiment.encoder.name,
        published(experiment),
        experiment.trained(model),
        experiment.outcome("musetools", model=experiment.model("v1.5", shuffled=True)),
        grid,
        {name: experiment.agreement(outcome) for (name, fps), outcome in grid.items() if fps == TRAIN_FPS},
        differences(experiment, halved),
    )
