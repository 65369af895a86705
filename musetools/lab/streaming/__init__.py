"""Notebook 05's room: how late, how expensive and how far from offline a live stream is.

`evaluate` gives the notebook's answer; `window_cost`, `stream_errors`, `arrivals` and `memory_over` are its measures,
the ``…_figure`` functions draw them.
"""

from musetools.lab.streaming.answer import BASELINE, SEGMENTS, Streaming, evaluate
from musetools.lab.streaming.figures import (
    cost_table,
    grid_figure,
    layer_figure,
    memory_figure,
    segment_figure,
    timeline_figure,
)
from musetools.lab.streaming.measure import (
    REFERENCE,
    WindowCost,
    arrivals,
    distance,
    memory_over,
    row_distance,
    segment_levels,
    stream_errors,
    window_cost,
)

__all__ = ["BASELINE", "REFERENCE", "SEGMENTS", "Streaming", "WindowCost", "arrivals", "cost_table", "distance"]
__all__ += ["evaluate", "grid_figure", "layer_figure", "memory_figure", "memory_over", "row_distance"]
__all__ += ["segment_figure", "segment_levels", "stream_errors", "timeline_figure", "window_cost"]
