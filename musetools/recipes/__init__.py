"""The published pipelines: how each makes features, which rows each frame takes, and what that does to a clip.

What only some commands need is imported on first use.
"""

import lazy_loader

from musetools.recipes import published  # noqa: F401  registers them

HOMES = {
    "contract": ["AudioContract"],
    "datasets": ["audit_frame_files", "numbered_encoder", "trace_dataset"],
    "identify": ["identify_rows", "traced_recipe"],
    "made": ["identify_features"],
    "profile": ["profile", "window_lag"],
    "recipe": ["RECIPES", "Recipe", "add_positions", "recipe_of", "register"],
    "trace": ["Trace", "TraceError", "trace_rows"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=HOMES)
