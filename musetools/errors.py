"""Errors of musetools: each message says what, got, expected, and how to mend it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "AudioError",
    "ContractError",
    "EmptyAudioError",
    "EncoderError",
    "MissingExtraError",
    "MusetoolsError",
    "OutputError",
    "ParameterError",
    "RecipeError",
    "StoreError",
    "StreamError",
    "as_array",
    "at_least",
    "one_of",
]


class MusetoolsError(Exception):
    """Root of every error that musetools raises on purpose."""


class ParameterError(MusetoolsError, ValueError):
    """An argument that cannot be used: a frame rate of zero, features of the wrong rank, an unknown name."""


class AudioError(MusetoolsError):
    """Audio that cannot be trusted: missing, empty, truncated, not finite, or cancelled by its own downmix."""


class EmptyAudioError(AudioError):
    """Audio without a single sample."""


class EncoderError(MusetoolsError):
    """Weights that cannot be had or read: no network, a torn download, a file in no published layout."""


class MissingExtraError(MusetoolsError, ImportError):
    """A part of musetools whose packages are not installed; the message names the extra that brings them."""


class RecipeError(MusetoolsError):
    """Input on which the published pipeline of a recipe stops, and so its recipe does.

    Attributes
    ----------
    original : type
        What the pipeline itself raises; SystemExit where it ends the process.
    """

    def __init__(self, message: str, original: type[BaseException] = SystemExit):
        super().__init__(message)
        self.original = original


class OutputError(MusetoolsError):
    """A result that could not be written; what stood under its name before is still there."""


class ContractError(MusetoolsError):
    """An audio contract that cannot be read, or weights and features that are not what it says."""


class StoreError(MusetoolsError):
    """A feature store that cannot be used so: made otherwise, damaged, an id that is taken or impossible."""


class StreamError(MusetoolsError):
    """A live stream that cannot go on as it is: flushed, broken by a bad block, or left without audio by its source."""


def as_array(value: object) -> "np.ndarray":
    """Return a value as an array, a tensor too; what is none as one of objects, which no check lets pass."""
    import numpy as np  # `import musetools` loads only the standard library

    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value  # which numpy lacks
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # lists of several lengths, or of tensors that numpy does not take
        return np.empty(0, object)


def one_of(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise ParameterError unless a value is one of a few texts."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ParameterError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def at_least(name: str, value: float, least: float) -> None:
    """Raise ParameterError unless a number is another one or more; NaN is not."""
    if not value >= least:
        raise ParameterError(f"{name} must be {least:g} or more; got {value!r}")
