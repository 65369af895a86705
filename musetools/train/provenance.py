"""How a store's features were made, written down so that nothing made otherwise is ever mixed in."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from musetools.features.encoder import Encoder
from musetools.features.spec import EncoderWindow, FeatureSpec

__all__ = ["differences", "in_words_of_today", "making_of", "spec_of"]

RENAMED = {"fill": "padding", "keep_fill": "keep_padding"}
FORMAT = 1  # of a store's folder
LIBRARIES = ("musetools", "torch", "openai-whisper", "numpy", "av", "soxr", "soundfile")
NAMES = {"encoder.name"}  # what a file was called does not change what was in it


def making_of(spec: FeatureSpec, encoder: Encoder, dtype: str) -> dict[str, Any]:
    """Say how features are made here and now, in plain values."""
    shape = {"n_layers": encoder.n_layers, "width": encoder.width}
    weights = {"name": encoder.name, "fingerprint": encoder.fingerprint, "dtype": encoder.dtype, **shape}
    window = {name: getattr(spec.window, name) for name in ("left_s", "hop_s", "right_s", "pad_to_s", "positions")}
    features = {**asdict(spec), "window": window}
    libraries = {name: version(name) for name in LIBRARIES}
    return {"format": FORMAT, "features": features, "encoder": weights, "dtype": dtype, "libraries": libraries}


def in_words_of_today(making: dict[str, Any]) -> dict[str, Any]:
    """Rename what stores written by earlier versions call otherwise."""
    features = {RENAMED.get(name, name): value for name, value in making["features"].items()}
    return {**making, "features": features}


def spec_of(making: dict[str, Any]) -> FeatureSpec:
    """Return the feature spec that was written down."""
    plain = making["features"]
    return FeatureSpec(**{**plain, "window": EncoderWindow(**plain["window"])})


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Say, entry by entry, what two makings do not share."""
    mine, other = dict(_flat(ours)), dict(_flat(theirs))
    keys = [key for key in sorted(mine.keys() | other.keys()) if key not in NAMES]
    return [f"{k}: {mine.get(k)} in the store, {other.get(k)} now" for k in keys if mine.get(k) != other.get(k)]


def _flat(making: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in making.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
