"""How training takes chunks from features, and what makes the same chunks for inference."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from musetools.audio.decode import Source
from musetools.chunks.rows import EDGES, checked_context
from musetools.chunks.sequence import Chunks, feature2chunks
from musetools.errors import ParameterError, one_of
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.timing import exact_fps

__all__ = ["ChunkSettings", "Chunker"]


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

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "ChunkSettings":
        """Return what `to_json` gave; ParameterError for anything else."""
        try:
            fps = None if plain["fps"] is None else Fraction(plain["fps"])
            return cls(fps, plain["context"], plain["edge"])
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError(
                f"chunk settings must be {{fps, context, edge}}, as to_json gives them; got {str(plain)[:200]}"
            ) from None

    def __str__(self) -> str:
        rate = f"{float(self.fps):.6g} fps" if self.fps else "each clip's fps"
        return f"{rate}, context {self.context}, edge {self.edge!r}"


@dataclass(frozen=True)
class Chunker:
    """Makes chunks for inference with everything that made them for training; see `FeatureStore.chunker`."""

    encoder: Encoder  # the weights of the store
    spec: FeatureSpec  # how features are made
    settings: ChunkSettings  # how training took its chunks
    rates: frozenset[Fraction]  # frame rates of the clips in the store, where known

    def __call__(self, source: Source, fps: float | Fraction | None = None) -> Chunks:
        """Make the chunks of a clip.

        Parameters
        ----------
        source : path, binary file or (array, sample_rate)
            Its audio.
        fps : float or Fraction, optional
            Frame rate of the video that is made; by default the one of training, where that had one.

        Returns
        -------
        Chunks
            One for every frame. Where training dropped the frames at a clip's edges, these are clamped.

        Raises
        ------
        ParameterError
            If training saw no clip of this frame rate.
        """
        fps = self.checked_rate(fps)  # before anything is encoded
        features = audio2feat(source, self.encoder, spec=self.spec)
        return feature2chunks(features, fps, self.settings.context, edge=self.edge)

    @property
    def edge(self) -> str:
        """The edge rule of inference: frames that training dropped are clamped, since the video needs them."""
        return "clamp" if self.settings.edge == "drop" else self.settings.edge

    def checked_rate(self, fps: float | Fraction | None = None) -> Fraction:
        """Return the frame rate of inference; ParameterError if training saw none such."""
        allowed = {self.settings.fps} if self.settings.fps else self.rates
        if fps is None and len(allowed) == 1:
            return next(iter(allowed))
        if fps is None or exact_fps(fps) not in allowed:
            seen = ", ".join(f"{float(rate):.6g}" for rate in sorted(allowed)) or "no known rate"
            raise ParameterError(
                f"training took chunks at {seen} fps; got {fps}. Convert the video, or train on that rate"
            )
        return exact_fps(fps)
