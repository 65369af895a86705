"""Notebook 06's room: what differences in preprocessing do to a model that predicts how far a mouth is open.

`evaluate` gives the notebook's answer; the ``…_table`` and ``…_figure`` functions show it. `Experiment` makes single
outcomes, and `measure_delay` measures how late a prediction is.
"""

from musetools.lab.effect.answer import Effect, evaluate
from musetools.lab.effect.delay import Delay, measure_delay
from musetools.lab.effect.figures import delay_figure, prediction_figure, r2_figure
from musetools.lab.effect.measure import Experiment, differences
from musetools.lab.effect.model import Model, ridge
from musetools.lab.effect.outcome import Agreement, Outcome
from musetools.lab.effect.tables import agreement_table, difference_table, outcome_table

__all__ = ["Agreement", "Delay", "Effect", "Experiment", "Model", "Outcome", "agreement_table", "delay_figure"]
__all__ += ["difference_table", "differences", "evaluate", "measure_delay", "outcome_table", "prediction_figure"]
__all__ += ["r2_figure", "ridge"]
