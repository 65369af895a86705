"""The published pipelines: how each makes features, which rows each frame takes, and what that does to a clip.

What only some commands need is imported on first use.
"""

from importlib import import_module

from musetools.recipes import published  # noqa: F401  registers them
from musetools.recipes.profile import WindowLag, profile, window_lag  # before the module's name hides the function's
from musetools.recipes.recipe import RECIPES, Recipe, add_positions, recipe_of, register

_HOME_OF = {
    "AudioContract": "contract",
    "FeaturesMatch": "made",
    "FeaturesMatches": "made",
    "RowsMatch": "identify",
    "RowsMatches": "identify",
    "SamplerAudit": "sampler",
    "Trace": "trace",
    "TraceError": "trace",
    "audit_frame_files": "datasets",
    "audit_sampler": "sampler",
    "identify_features": "made",
    "identify_rows": "identify",
    "numbered_encoder": "datasets",
    "trace_dataset": "datasets",
    "trace_rows": "trace",
    "traced_recipe": "identify",
}
__all__ = [*_HOME_OF, "RECIPES", "Recipe", "WindowLag", "add_positions", "profile", "recipe_of", "register"]
__all__ += ["window_lag"]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'musetools.recipes' has no attribute {name!r}")
    return getattr(import_module(f"musetools.recipes.{_HOME_OF[name]}"), name)
