"""How training takes chunks from features: frame rate, context and edge rule."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from musetools.chunks.rows import EDGES, checked_context
from musetools.errors import one_of
from musetools.timing import exact_fps

__all__ = ["ChunkSettings"]


@dataclass(frozen=True)
class ChunkSettings:
    """Which rows become a frame's chunk, as `ChunkDataset` takes them.

    Parameters
    ----------
    fps : float, Fraction or None, default 25
        One frame rate for all clips; None for each clip's own.
    context : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    edge : {"drop", "clamp", "zeros"}
        See `chunk_rows`.

    Raises
    ------
    ParameterError
        If an argument is of the wrong type or out of range.
    """

    fps: Fraction | None = Fraction(25)
    context: tuple[int, int] = (2, 2)
    edge: str = "drop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", None if self.fps is None else exact_fps(self.fps))
        object.__setattr__(self, "context", checked_context(self.context))
        one_of("edge", self.edge, EDGES)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"fps": str(self.fps) if self.fps else None, "context": list(self.context), "edge": self.edge}

    def __str__(self) -> str:
        rate = f"{float(self.fps):.6g} fps" if self.fps else "each clip's fps"
        return f"{rate}, context {self.context}, edge {self.edge!r}"
