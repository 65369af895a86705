"""Errors of musetools: each message says what, got, expected, and how to mend it."""

__all__ = ["AudioError", "EncoderError", "MusetoolsError", "OutputError", "ParameterError", "RecipeError"]


class MusetoolsError(Exception):
    """Root of every error that musetools raises on purpose."""


class ParameterError(MusetoolsError, ValueError):
    """An argument that cannot be used: a frame rate of zero, features of the wrong rank, an unknown name."""


class AudioError(MusetoolsError):
    """Audio that cannot be trusted: missing, empty, truncated, not finite, or cancelled by its own downmix."""


class EncoderError(MusetoolsError):
    """Weights that cannot be had or read: no network, a torn download, a file in neither published layout."""


class RecipeError(MusetoolsError):
    """Input on which the published pipeline of a recipe stops, and so its recipe does."""


class OutputError(MusetoolsError):
    """A result that could not be written; what stood under its name before is still there."""
