"""The published pipelines: how each makes features, which rows each frame takes, and what that does to a clip."""

from musetools.recipes import published  # noqa: F401  registers them
from musetools.recipes.contract import AudioContract
from musetools.recipes.datasets import audit_frame_files, numbered_encoder, trace_dataset
from musetools.recipes.identify import RowsMatch, RowsMatches, identify_rows, traced_recipe
from musetools.recipes.made import FeaturesMatch, FeaturesMatches, identify_features
from musetools.recipes.profile import WindowLag, profile, window_lag
from musetools.recipes.recipe import RECIPES, Recipe, add_positions, recipe_of, register
from musetools.recipes.sampler import SamplerAudit, audit_sampler
from musetools.recipes.trace import Trace, TraceError, trace_rows

__all__ = [
    "RECIPES",
    "AudioContract",
    "Recipe",
    "RowsMatch",
    "RowsMatches",
    "SamplerAudit",
    "Trace",
    "TraceError",
    "WindowLag",
]
__all__ += ["add_positions", "audit_sampler", "identify_rows", "profile", "recipe_of", "register", "trace_rows"]
__all__ += ["FeaturesMatch", "FeaturesMatches", "identify_features", "window_lag"]
__all__ += ["audit_frame_files", "numbered_encoder", "trace_dataset", "traced_recipe"]
