"""Notebook 01's room: whether training and inference chunk a clip alike, and what it costs where they do not.

`evaluate` gives the notebook's answer for a pair, `outcomes` that of several pairs in a sentence each. `compare`
measures two recipes, `compare_all` and `lag_table` all of them; `measure_causes` measures what each difference costs in
features, `measure_silence` what silence looks like; the ``…_figure`` functions draw.
"""

from musetools.lab.difference.answer import evaluate, outcomes
from musetools.lab.difference.causes import measure_causes
from musetools.lab.difference.figures import edge_figure, feature_figure, frame_figure, input_figure, outcome_figure
from musetools.lab.difference.measure import Comparison, compare
from musetools.lab.difference.overview import compare_all, lag_table, rate_table
from musetools.lab.difference.pair_figures import cause_figure, lag_figure, rate_figure, silence_figure, value_figure
from musetools.lab.difference.silence import measure_silence

__all__ = ["Comparison", "cause_figure", "compare", "compare_all", "edge_figure", "evaluate", "feature_figure"]
__all__ += ["frame_figure", "input_figure", "lag_figure", "lag_table", "measure_causes", "measure_silence"]
__all__ += ["outcome_figure", "outcomes", "rate_figure", "rate_table", "silence_figure", "value_figure"]
