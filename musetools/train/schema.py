"""What the JSON files of stores and shards hold, as JSON schemas; other values never reach the code behind them."""

from jsonschema import Draft4Validator  # the last draft in which 9.0 is no integer

__all__ = ["RECORD", "SHARD_INDEX", "STORE"]

COUNT = {"type": "integer", "minimum": 0, "maximum": 2**53}
TEXT = {"type": "string"}
SHA256 = {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"}

_CLIP = {
    "type": "object",
    "required": ["clip", "file", "rows", "dtype", "bytes", "sha256", "samples", "duration_s"],
    "additionalProperties": False,
    "properties": {
        "clip": {"type": "string", "minLength": 1},
        "file": {"type": "string", "pattern": r"^[A-Za-z0-9_@][A-Za-z0-9._@-]*\.npy\Z"},  # as `file_name` gives it
        "rows": COUNT,
        "dtype": TEXT,
        "bytes": COUNT,
        "sha256": SHA256,
        "samples": COUNT,
        "duration_s": {"type": "number", "minimum": 0, "maximum": 2**53},
        "fps": {"type": ["string", "null"], "pattern": r"^0*[1-9][0-9]{0,19}(/0*[1-9][0-9]{0,19})?\Z"},
        "frames": {**COUNT, "type": ["integer", "null"]},
        "source": {
            "type": ["object", "null"],
            "properties": {"path": TEXT, "bytes": COUNT, "mtime_ns": {"type": "integer"}, "sha256": SHA256},
        },
    },
}
_QUARANTINED = {
    "type": "object",
    "required": ["clip", "bad"],
    "additionalProperties": False,
    "properties": {"clip": {"type": "string", "minLength": 1}, "bad": TEXT},
}
_STORE = {
    "type": "object",
    "required": ["format", "features", "encoder", "dtype", "libraries"],
    "properties": {
        "format": {"type": "integer"},
        "features": {"type": "object", "required": ["window"], "properties": {"window": {"type": "object"}}},
        "encoder": {
            "type": "object",
            "required": ["name", "fingerprint", "dtype", "n_layers", "width"],
            "properties": {
                "name": TEXT,
                "fingerprint": TEXT,
                "dtype": TEXT,
                "n_layers": {"type": "integer", "minimum": 1, "maximum": 2**15},
                "width": {"type": "integer", "minimum": 1, "maximum": 2**15},
            },
        },
        "dtype": {"enum": ["float32", "float16"]},
        "libraries": {"type": "object", "additionalProperties": TEXT},
    },
}

_SHARD = {
    "type": "object",
    "required": ["url", "nsamples", "filesize", "sha256"],
    "properties": {
        "url": {"type": "string", "pattern": r"^shard-[0-9]+\.tar\Z"},
        "nsamples": COUNT,
        "filesize": COUNT,
        "sha256": SHA256,
    },
}
_SHARDS = {"type": "object", "required": ["shardlist"], "properties": {"shardlist": {"type": "array", "items": _SHARD}}}

RECORD = Draft4Validator({"oneOf": [_CLIP, _QUARANTINED]})
STORE = Draft4Validator(_STORE)
SHARD_INDEX = Draft4Validator(_SHARDS)
