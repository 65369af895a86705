"""Where a store's features come from: how they were made, and of which file; nothing else is ever mixed in."""

import os
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from musetools.audio.container import name_of
from musetools.audio.probe import MediaInfo, probe_media
from musetools.errors import AudioError
from musetools.features.encoder import Encoder
from musetools.features.spec import FeatureSpec
from musetools.files import sha256_of
from musetools.recipes.contract import encoder_facts, library_versions

__all__ = ["SourceFile", "provenance_of", "renamed"]

RENAMED = {"fill": "padding", "keep_fill": "keep_padding"}
FORMAT = 1  # of a store's folder


@dataclass(frozen=True)
class SourceFile:
    """The media file that a clip's features are made of."""

    path: Path
    bytes: int
    mtime_ns: int
    sha256: str
    fps: Fraction | None  # of its video, by its time stamps
    frames: int | None  # that are shown

    @classmethod
    def of(cls, path: str | os.PathLike, info: MediaInfo | None = None) -> "SourceFile":
        """Read all that is to be known of a media file, but for what is known; AudioError if it cannot be read."""
        name, path = name_of(path), Path(path)
        with suppress(AudioError):  # whoever decodes it says better what is wrong
            info = info or probe_media(path)
        try:
            with open(path, "rb") as file:
                stat, sha256 = os.fstat(file.fileno()), sha256_of(file)
        except OSError as error:
            raise AudioError(
                f"{name} cannot be read: {error.strerror}. Change its permissions, or copy it again"
            ) from None
        video = info and info.video
        fps, frames = (video.timed_rate or video.rate, len(info.timeline.frames_s)) if video else (None, None)
        return cls(path.resolve(), stat.st_size, stat.st_mtime_ns, sha256, fps, frames)

    def to_json(self) -> dict[str, Any]:
        """Return what a record keeps of it, so that it is known again."""
        return {"path": str(self.path), "bytes": self.bytes, "mtime_ns": self.mtime_ns, "sha256": self.sha256}


def provenance_of(spec: FeatureSpec, encoder: Encoder, dtype: str) -> dict[str, Any]:
    """Say how features are made here and now, in plain values."""
    return {
        "format": FORMAT,
        "features": spec.to_json(),
        "encoder": encoder_facts(encoder),
        "dtype": dtype,
        "libraries": library_versions(),
    }


def renamed(provenance: dict[str, Any]) -> dict[str, Any]:
    """Rename what stores written by earlier versions call otherwise."""
    features = {RENAMED.get(name, name): value for name, value in provenance["features"].items()}
    return {**provenance, "features": features}
