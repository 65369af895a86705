"""Waveform in, feature rows out. Names are imported on first use: a spec needs no torch, an encoder does."""

import lazy_loader

HOMES = {
    "encoder": ["Encoder", "load_encoder"],
    "extract": ["audio2feat"],
    "spec": ["EncoderWindow", "FeatureSpec"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=HOMES)
