"""Notebook 04's room: what saved features cost on disk and in a loader.

`evaluate` gives the notebook's answer; `clip_sizes`, `float16_error`, `loading_rate` and `resident_growth` are its
measures, `VideoFrames` joins images to a `ChunkDataset`.
"""

from musetools.lab.storage.figures import float16_figure, rate_figure, size_figure, size_table, worker_figure
from musetools.lab.storage.layouts import ChunkFiles, FrameFiles, VideoFrames, fill_store, make_layouts
from musetools.lab.storage.measure import (
    StorageCosts,
    clip_sizes,
    disk_bytes,
    evaluate,
    float16_error,
    loading_rate,
    resident_growth,
    stale_refusals,
)

__all__ = ["ChunkFiles", "FrameFiles", "StorageCosts", "VideoFrames", "clip_sizes", "disk_bytes", "evaluate"]
__all__ += ["fill_store", "float16_error", "float16_figure", "loading_rate", "make_layouts", "rate_figure"]
__all__ += ["resident_growth", "size_figure", "size_table", "stale_refusals", "worker_figure"]
