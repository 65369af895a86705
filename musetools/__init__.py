"""The audio side of MuseTalk-style lip-sync models: Whisper features and per-frame chunks, the same on both sides.

Public names are imported on first use, so that ``import musetools`` loads neither torch, whisper nor librosa.
"""

import lazy_loader

HOMES = {
    "audio": ["MediaInfo", "Timeline", "audio_blocks", "load_audio", "loudness", "probe_media", "read_timeline"],
    "check": ["ClipAudit", "audit_clip"],
    "chunks": ["Chunks", "chunk_rows", "feature2chunks"],
    "errors": [
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
    ],
    "features": ["Encoder", "EncoderWindow", "FeatureSpec", "audio2feat", "load_encoder"],
    "infer": ["ChunkStream", "push_many"],
    "lab.difference": ["Comparison", "compare"],
    "lab.regression": ["SuiteReport", "run_notebook", "run_suite"],
    "recipes": [
        "AudioContract",
        "RECIPES",
        "Recipe",
        "Trace",
        "TraceError",
        "audit_frame_files",
        "identify_features",
        "identify_rows",
        "register",
        "numbered_encoder",
        "trace_dataset",
        "trace_rows",
        "traced_recipe",
        "window_lag",
    ],
    "train": ["ChunkDataset", "ExtractReport", "FeatureStore", "extract"],
}
__getattr__, _, __all__ = lazy_loader.attach(__name__, submod_attrs=HOMES)
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
