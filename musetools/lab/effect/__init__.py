"""Notebook 06's room: what differences in preprocessing do to a model that predicts how far a mouth is open.

`evaluate` gives the notebook's answer with its tables; the ``…_figure`` functions draw it. `Experiment` makes single
outcomes, and `measure_delay` measures how late a prediction is.
"""

from musetools.lab.effect.answer import Effect, evaluate
from musetools.lab.effect.delay import Delay, measure_delay
from musetools.lab.effect.figures import answer_box, delay_figure, prediction_figure, r2_figure
from musetools.lab.effect.measure import Experiment, differences, published
from musetools.lab.effect.model import Model, ridge
from musetools.lab.effect.outcome import Agreement, Outcome

__all__ = ["Agreement", "Delay", "Effect", "Experiment", "Model", "Outcome", "delay_figure", "differences", "evaluate"]
__all__ += ["answer_box", "measure_delay", "prediction_figure", "published", "r2_figure", "ridge"]
