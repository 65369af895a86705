"""What the JSON files of stores and shards hold; other values never reach the code behind them."""

from typing import Any

from musetools.schema import COUNT, RATE, SECONDS, SHA256, TEXT, Schema, exactly, list_of

__all__ = ["CLIP", "DTYPES", "RECORD", "SHARD_INDEX", "STORE"]

DTYPES = ["float32", "float16"]  # that a store holds

_NAME, _SIZE = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1, "maximum": 2**15}
_SOURCE = {"path": TEXT, "bytes": COUNT, "mtime_ns": {"type": "integer"}, "sha256": SHA256}
_CLIP = exactly(
    *("fps", "frames", "source"),
    clip=_NAME,
    file={"type": "string", "pattern": r"^[A-Za-z0-9_@][A-Za-z0-9._@-]*\.npy\Z"},  # as `file_name` gives it
    rows=COUNT,
    dtype=TEXT,
    bytes=COUNT,
    sha256=SHA256,
    samples=COUNT,
    duration_s=SECONDS,
    fps={**RATE, "type": ["string", "null"]},
    frames={**COUNT, "type": ["integer", "null"]},
    source={"type": ["object", "null"], "properties": _SOURCE},
)


def _at_least(**properties: Any) -> dict[str, Any]:
    return {**exactly(**properties), "additionalProperties": True}


_SHARD_FILE = {"type": "string", "pattern": r"^shard-[0-9]+\.tar\Z"}
_SHARD = _at_least(url=_SHARD_FILE, nsamples=COUNT, filesize=COUNT, sha256=SHA256)

CLIP = Schema(_CLIP)
RECORD = Schema({"oneOf": [_CLIP, exactly(clip=_NAME, bad=TEXT)]})
STORE = Schema(
    _at_least(
        format={"type": "integer"},
        features=_at_least(window={"type": "object"}),
        encoder=_at_least(name=TEXT, fingerprint=TEXT, dtype=TEXT, n_layers=_SIZE, width=_SIZE),
        dtype={"enum": DTYPES},
        libraries={"type": "object", "additionalProperties": TEXT},
    )
)
SHARD_INDEX = Schema(_at_least(shardlist=list_of(_SHARD)))
