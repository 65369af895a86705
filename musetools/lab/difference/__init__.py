"""Notebook 01's room: whether training and inference chunk a clip alike, and what it costs where they do not.

`evaluate` gives the notebook's answer for a pair, `outcomes` that of several pairs in a sentence each. `compare` and
`compare_at` measure two recipes, `compare_all` and `lag_table` all of them; `measure_causes` measures what each
difference costs in features, `measure_silence` what silence looks like; the ``…_figure`` functions draw.
"""

from musetools.lab.difference.answer import Difference, evaluate
from musetools.lab.difference.causes import Cause, Causes, measure_causes
from musetools.lab.difference.cost_figures import cause_figure, outcome_figure, silence_figure
from musetools.lab.difference.figures import edge_figure, feature_figure, frame_figure, input_figure
from musetools.lab.difference.measure import Comparison, ValueDifference, compare, compare_at, make_features
from musetools.lab.difference.outcome import Outcome, Outcomes, outcomes
from musetools.lab.difference.overview import ComparisonMatrix, LagTable, compare_all, lag_table, rate_table
from musetools.lab.difference.pair_figures import lag_figure, rate_figure, value_figure
from musetools.lab.difference.places import Places, measure_places
from musetools.lab.difference.silence import Silence, measure_silence

__all__ = ["Cause", "Causes", "Comparison", "ComparisonMatrix", "Difference", "LagTable", "Outcome", "Places"]
__all__ += ["Outcomes", "Silence", "ValueDifference", "cause_figure", "compare", "compare_all", "compare_at"]
__all__ += ["edge_figure", "evaluate", "feature_figure", "frame_figure", "input_figure", "lag_figure", "lag_table"]
__all__ += ["make_features", "measure_causes", "measure_places", "measure_silence", "outcome_figure", "outcomes"]
__all__ += ["rate_figure", "rate_table", "silence_figure", "value_figure"]
