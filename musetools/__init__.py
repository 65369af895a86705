"""The audio side of MuseTalk-style lip-sync models: Whisper features and per-frame chunks, the same on both sides.

Public names are imported on first use, so that ``import musetools`` loads neither torch, whisper nor librosa.
"""

from importlib import import_module

_HOMES = {
    "audio.load": ["audio_blocks", "load_audio", "loudness"],
    "chunks.rows": ["Chunks", "chunk_rows", "feature2chunks"],
    "features.encoder": ["Encoder", "load_encoder"],
    "errors": [
        "AudioError",
        "EmptyAudioError",
        "EncoderError",
        "MusetoolsError",
        "OutputError",
        "ParameterError",
        "RecipeError",
        "StoreError",
        "StreamError",
    ],
    "features.extract": ["EncoderWindow", "FeatureSpec", "audio2feat"],
    "infer.stream": ["ChunkStream"],
    "lab.alignment.align": ["ClipAudit", "audit_clip", "window_lag"],
    "lab.difference.measure": ["compare"],
    "lab.difference.comparison": ["Comparison"],
    "lab.regression.suite": ["SuiteReport", "run_notebook", "run_suite"],
    "audio.probe": ["MediaInfo", "probe_media"],
    "recipes.published": ["RECIPES", "Recipe", "register"],
    "train.corpus": ["ExtractReport", "extract"],
    "train.dataset": ["ChunkDataset"],
    "train.store": ["FeatureStore"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'musetools' has no attribute {name!r}")
    return getattr(import_module(f"musetools.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
