"""Notebook 04's room: what saved features cost on disk and in a loader.

`evaluate` gives the notebook's answer; `clip_sizes`, `float16_error` and `loading_rate` are its measures, `VideoFrames`
joins images to a `ChunkDataset`, `videos_in` finds the videos of a folder.
"""

from musetools.lab.storage.figures import float16_figure, rate_figure, size_figure, size_table, worker_figure
from musetools.lab.storage.layouts import VideoFrames, videos_in
from musetools.lab.storage.measure import (
    StorageCosts,
    clip_sizes,
    evaluate,
    float16_error,
    loading_rate,
    stale_refusals,
)

__all__ = ["StorageCosts", "VideoFrames", "clip_sizes", "evaluate", "float16_error", "float16_figure", "loading_rate"]
__all__ += ["rate_figure", "size_figure", "size_table", "stale_refusals", "videos_in", "worker_figure"]
