"""The published pipelines: how each makes features, which rows each frame takes, and what that does to a clip."""

from musetools.recipes import published  # noqa: F401  registers them
from musetools.recipes.profile import WindowLag, profile, window_lag
from musetools.recipes.recipe import RECIPES, Recipe, add_positions, recipe_of, register
from musetools.recipes.sampler import SamplerAudit, audit_sampler

__all__ = ["RECIPES", "Recipe", "SamplerAudit", "WindowLag", "add_positions", "audit_sampler", "profile", "recipe_of"]
__all__ += ["register", "window_lag"]
