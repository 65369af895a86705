"""How training cut its chunks, and the chunker that cuts them so for inference."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from musetools.audio.decode import Source
from musetools.chunks.sequence import Chunks, feature2chunks
from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.timing import exact_fps

__all__ = ["Chunker", "Cutting"]


@dataclass(frozen=True)
class Cutting:
    """How chunks are cut.

    Attributes
    ----------
    fps : Fraction or None
        One frame rate for all clips; None for each clip's own.
    context : (int, int)
        Frames of audio left and right of a frame.
    edge : {"clamp", "zeros", "drop"}
        See `chunk_rows`.
    """

    fps: Fraction | None
    context: tuple[int, int]
    edge: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"fps": str(self.fps) if self.fps else None, "context": list(self.context), "edge": self.edge}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Cutting":
        """Return what `to_json` wrote down."""
        return cls(Fraction(plain["fps"]) if plain["fps"] else None, tuple(plain["context"]), plain["edge"])

    def __str__(self) -> str:
        rate = f"{float(self.fps):.6g} fps" if self.fps else "each clip's fps"
        return f"at {rate}, context {self.context}, edge {self.edge!r}"


@dataclass(frozen=True)
class Chunker:
    """Makes chunks for inference with everything that made them for training; see `FeatureStore.chunker`.

    Attributes
    ----------
    encoder : Encoder
        The weights of the store.
    spec : FeatureSpec
        How features are made.
    cutting : Cutting
        How chunks are cut.
    rates : frozenset of Fraction
        Frame rates of the clips in the store, where known.
    """

    encoder: Encoder
    spec: FeatureSpec
    cutting: Cutting
    rates: frozenset[Fraction]

    def __call__(self, source: Source, fps: float | Fraction | None = None) -> Chunks:
        """Cut a clip.

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
        return feature2chunks(features, fps, self.cutting.context, edge=self.edge)

    @property
    def edge(self) -> str:
        """The edge rule of inference: frames that training dropped are clamped, since the video needs them."""
        return "clamp" if self.cutting.edge == "drop" else self.cutting.edge

    def checked_rate(self, fps: float | Fraction | None = None) -> Fraction:
        """Return the frame rate to cut at; ParameterError if training saw none such."""
        allowed = {self.cutting.fps} if self.cutting.fps else self.rates
        if fps is None and len(allowed) == 1:
            return next(iter(allowed))
        if fps is None or exact_fps(fps) not in allowed:
            told = ", ".join(f"{float(rate):.6g}" for rate in sorted(allowed)) or "no known rate"
            raise ParameterError(
                f"training cut chunks at {told} fps; got {fps}. Convert the video, or train on that rate"
            )
        return exact_fps(fps)
