"""Notebook 01's room: whether training and inference chunk a clip alike.

`evaluate` gives the notebook's answer. `compare` and `compare_at` measure two recipes, `compare_all` and `lag_table`
all of them; the ``…_figure`` functions draw.
"""

from musetools.lab.difference.answer import Difference, evaluate
from musetools.lab.difference.figures import (
    edge_figure,
    feature_figure,
    frame_figure,
    input_figure,
    lag_figure,
    rate_figure,
    value_figure,
)
from musetools.lab.difference.measure import Comparison, ValueDifference, compare, compare_at, make_features
from musetools.lab.difference.overview import ComparisonMatrix, LagTable, compare_all, lag_table, rate_table

__all__ = ["Comparison", "ComparisonMatrix", "Difference", "LagTable", "ValueDifference", "compare", "compare_all"]
__all__ += ["compare_at", "edge_figure", "evaluate", "feature_figure", "frame_figure", "input_figure", "lag_figure"]
__all__ += ["lag_table", "make_features", "rate_figure", "rate_table", "value_figure"]
