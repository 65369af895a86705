"""Notebook 06's room: what differences in preprocessing do to a model that predicts how far a mouth is open.

`evaluate` gives the notebook's answer with its tables; the ``…_figure`` functions draw it. `Experiment` makes single
outcomes, of which each knows how late its predictions are.
"""

from musetools.lab.effect.answer import Effect, evaluate
from musetools.lab.effect.figures import answer_box, delay_figure, prediction_figure, r2_figure
from musetools.lab.effect.measure import Experiment

__all__ = ["Effect", "Experiment", "answer_box", "delay_figure", "evaluate", "prediction_figure", "r2_figure"]
