"""Waveform in, feature rows out. Names are imported on first use: a spec needs no torch, an encoder does."""

from importlib import import_module

_HOME_OF = {
    "Encoder": "encoder",
    "EncoderWindow": "spec",
    "FeatureSpec": "spec",
    "audio2feat": "extract",
    "load_encoder": "encoder",
}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'musetools.features' has no attribute {name!r}")
    return getattr(import_module(f"musetools.features.{_HOME_OF[name]}"), name)
