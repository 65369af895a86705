"""Notebook 06's room: what differences in preprocessing do to a model, a mouth that learns to move.

`evaluate` gives the notebook's answer; `Experiment` makes single outcomes, `measure_delay` says how late one is, the
``…_table`` and ``…_figure`` functions show them.
"""

from musetools.lab.effect.answer import Effect, evaluate
from musetools.lab.effect.delay import Delay, measure_delay
from musetools.lab.effect.figures import delay_figure, prediction_figure, r2_figure
from musetools.lab.effect.measure import Experiment, differences
from musetools.lab.effect.mouth import Model, ridge
from musetools.lab.effect.outcome import Agreement, Outcome
from musetools.lab.effect.report import (
    agreement_table,
    difference_table,
    effect_sentences,
    outcome_table,
    running,
    titled,
    worst,
)

__all__ = ["Agreement", "Delay", "Effect", "Experiment", "Model", "Outcome", "agreement_table", "delay_figure"]
__all__ += ["difference_table", "differences", "effect_sentences", "evaluate", "measure_delay", "outcome_table"]
__all__ += ["prediction_figure", "r2_figure", "ridge", "running", "titled", "worst"]
