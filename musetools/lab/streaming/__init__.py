"""Notebook 05's room: how late, how expensive and how far from offline a live stream is.

`evaluate` gives the notebook's answer; `trade` measures many windows, `window_cost` one; `stream_errors`, `arrivals`
and `memory_over` are the other measures, the ``…_figure`` functions draw them.
"""

from musetools.lab.streaming.answer import BASELINE, NAMED, SEGMENTS, Streaming, evaluate
from musetools.lab.streaming.figures import (
    answer_box,
    grid_figure,
    layer_figure,
    memory_figure,
    segment_figure,
    timeline_figure,
    trade_figure,
)
from musetools.lab.streaming.measure import (
    REFERENCE,
    WindowCost,
    arrivals,
    memory_over,
    row_distance,
    segment_levels,
    stream_errors,
    window_cost,
)
from musetools.lab.streaming.trade import Trade, cost_table, trade

__all__ = ["BASELINE", "NAMED", "REFERENCE", "SEGMENTS", "Streaming", "Trade", "WindowCost"]
__all__ += ["answer_box", "arrivals", "cost_table", "evaluate", "grid_figure", "layer_figure", "memory_figure"]
__all__ += ["memory_over", "row_distance", "segment_figure", "segment_levels", "stream_errors", "timeline_figure"]
__all__ += ["trade", "trade_figure", "window_cost"]
