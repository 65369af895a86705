"""Notebook 05's room: how late, how expensive and how far from offline a live stream is.

`evaluate` gives the notebook's answer; `trade` measures many windows, `window_cost` one, `stream_errors` how far a
stream is from the offline path; the ``…_figure`` functions draw the answer.
"""

from musetools.lab.streaming.answer import SEGMENTS, Streaming, evaluate
from musetools.lab.streaming.figures import (
    answer_box,
    grid_figure,
    layer_figure,
    memory_figure,
    segment_figure,
    timeline_figure,
    trade_figure,
)
from musetools.lab.streaming.measure import WindowCost, stream_errors, window_cost
from musetools.lab.streaming.trade import Trade, cost_table, trade

__all__ = ["SEGMENTS", "Streaming", "Trade", "WindowCost", "answer_box", "cost_table", "evaluate", "grid_figure"]
__all__ += ["layer_figure", "memory_figure", "segment_figure", "stream_errors", "timeline_figure", "trade"]
__all__ += ["trade_figure", "window_cost"]
