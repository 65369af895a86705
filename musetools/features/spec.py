"""Everything besides the weights that decides what features a waveform gets; plain data, no torch."""

import math
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from numbers import Real
from typing import Any

from musetools.audio import DECODERS
from musetools.errors import ParameterError, one_of
from musetools.timing import ROW_RATE

__all__ = ["SPEC_NAMES", "EncoderWindow", "FeatureSpec"]

MAX_WINDOW_S = 30
POSITIONS = ("window", "clip")
MEL_PEAKS = ("file", "window")
PADDINGS = ("mel", "audio")
WINDOW = ("left_s", "hop_s", "right_s", "pad_to_s", "positions")


def _rows_in(name: str, seconds: float) -> int:
    """Convert seconds to whole rows."""
    number = isinstance(seconds, Real) and not isinstance(seconds, bool) and math.isfinite(seconds)
    rows = Fraction(str(seconds)) * ROW_RATE if number else None
    if rows is None or rows.denominator != 1 or rows < 0:
        raise ParameterError(f"{name} must be a multiple of 0.02 s (one row), not negative; got {seconds!r}")
    return int(rows)


@dataclass(frozen=True)
class EncoderWindow:
    """How an encoder pass slides over a clip.

    Each pass sees `left_s` + `hop_s` + `right_s` seconds, cut off at the clip's ends, and keeps the rows of the hop.

    Parameters
    ----------
    left_s : float, default 0
        Seconds seen before the rows that are kept.
    hop_s : float, default 30
        Seconds kept by a pass: the next one starts where they end.
    right_s : float, default 0
        Seconds seen after them: look-ahead.
    pad_to_s : float or None, default 30
        Length in seconds to which a shorter stretch is padded; None leaves it as it is.
    positions : {"window", "clip"}
        Whether positional embeddings count from the window's start, or each row keeps its place in the clip (row modulo
        1500).

    Raises
    ------
    ParameterError
        If a length is no multiple of 0.02 s, the hop is 0, or a pass would exceed `pad_to_s` or 30 s.

    Examples
    --------
    >>> upstream = EncoderWindow(0, 30, 0, 30)
    >>> overlapping = EncoderWindow(5, 20, 5, 30)
    >>> live = EncoderWindow(2, 0.2, 0.2, None, positions="clip")
    """

    left_s: float = 0
    hop_s: float = MAX_WINDOW_S
    right_s: float = 0
    pad_to_s: float | None = MAX_WINDOW_S
    positions: str = "window"
    left: int = field(init=False, repr=False, compare=False)
    hop: int = field(init=False, repr=False, compare=False)
    right: int = field(init=False, repr=False, compare=False)
    pad_to: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("left", "hop", "right"):
            object.__setattr__(self, name, _rows_in(f"{name}_s", getattr(self, f"{name}_s")))
        object.__setattr__(self, "pad_to", 0 if self.pad_to_s is None else _rows_in("pad_to_s", self.pad_to_s))
        seen, longest = self.left + self.hop + self.right, self.pad_to or MAX_WINDOW_S * ROW_RATE
        if self.hop == 0 or self.pad_to_s == 0 or seen > longest or longest > MAX_WINDOW_S * ROW_RATE:
            raise ParameterError(
                f"a window keeps at least 0.02 s and sees at most pad_to_s, itself at most {MAX_WINDOW_S} s; got {self}"
            )
        one_of("positions", self.positions, POSITIONS)


@dataclass(frozen=True)
class FeatureSpec:
    """Everything besides the weights that decides what features a waveform gets.

    Parameters
    ----------
    decoder : {"timeline", "ffmpeg", "librosa"}
        See `load_audio`.
    mel_peak : {"window", "file"}
        Where the peak is looked for that sets the log-mel floor, 8 decades below: in each window, or in the whole file.
    padding : {"audio", "mel"}
        What fills a window: zeros in the waveform, so that it is silence and the window's STFT stands alone; or zeros
        in the normalised log-mel, with an STFT over the whole file.
    final_norm : bool
        Whether the last layer passes the encoder's final layer norm.
    window : EncoderWindow
        How encoder passes slide.
    keep_padding : bool, default False
        Whether the last window keeps all rows of its hop, those that the encoder makes of the padding too.

    Raises
    ------
    ParameterError
        If a choice is unknown, or the padding is to be kept of windows that are not padded.
    """

    decoder: str = "timeline"
    mel_peak: str = "window"
    padding: str = "audio"
    final_norm: bool = True
    window: EncoderWindow = EncoderWindow()
    keep_padding: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("decoder", DECODERS), ("mel_peak", MEL_PEAKS), ("padding", PADDINGS)):
            one_of(name, getattr(self, name), choices)
        flags = isinstance(self.final_norm, bool) and isinstance(self.keep_padding, bool)
        if not flags or not isinstance(self.window, EncoderWindow):
            raise ParameterError(f"final_norm and keep_padding must be bools and window an EncoderWindow; got {self}")
        if self.keep_padding and self.window.pad_to < self.window.left + self.window.hop:
            raise ParameterError(f"keep_padding needs windows padded to left_s + hop_s or more; got {self.window}")

    @classmethod
    def named(cls, name: "str | FeatureSpec") -> "FeatureSpec":
        """Return the spec of a name; a spec is returned as it is.

        Names are "musetools", "musetalk-v1", "musetalk-v1.5", and what live streams make: "live-low", "live",
        "live-near", and "live-exact", which equals "musetalk-v1.5".

        Raises
        ------
        ParameterError
            If there is no spec of this name.
        """
        if isinstance(name, cls):
            return name
        if not isinstance(name, str) or name not in _SPECS:
            raise ParameterError(f"spec must be a FeatureSpec or one of {', '.join(_SPECS)}; got {name!r}")
        return _SPECS[name]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "window": {name: getattr(self.window, name) for name in WINDOW}}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "FeatureSpec":
        """Return what `to_json` gave; TypeError for unknown fields."""
        return cls(**{**plain, "window": EncoderWindow(**plain["window"])})


_SPECS = {
    "musetools": FeatureSpec(),
    "musetalk-v1": FeatureSpec(decoder="ffmpeg", mel_peak="file", padding="mel", final_norm=False),
    "musetalk-v1.5": FeatureSpec(decoder="librosa"),
    # What a `ChunkStream` makes, and so what to train on for it: what lies nearest to offline features at each latency
    # for about a quarter of a core. Measured with tiny.en on 30 s of real English and of bundled speech: distance over
    # that of neighbouring rows, and one thread of a busy machine of two cores.
    #   live-low   0.3 s behind: 0.52, 0.54, 27 %; left 4 s 0.47, 0.49, 48 %; hop 0.16 and right 0.04 s 0.58, 0.61, 17 %
    #   live       0.6 s:        0.36, 0.37, 22 %; left 8 s 0.33, 0.33, 33 %; 3 s, hop 0.2, right 0.3 s 0.38, 0.36, 22 %
    #   live-near  1.6 s:        0.24, 0.23, 14 %; left 5 s 0.27, 0.26,  8 %; hop 0.5, right 1 s 0.25, 0.24, 28 %
    #   LiveTalking's buffer:    2.71, 2.52, 78 %; positions of the clip 0.57, 0.68; and not padded 0.56, 0.56, 3 %
    # The passes are a sample, so a run may differ by a tenth:
    #   python -c "import musetools as mt; from musetools.lab.streaming import trade; print(trade(
    #       mt.load_audio('data/voice_a.m4a')[:480000], mt.load_encoder('tiny.en'), lefts_s=(1, 2, 3, 5, 8, 10),
    #       rights_s=(0.1, 0.2, 0.5), hops_s=(0.1, 0.3, 1), passes=60))"
    "live-low": FeatureSpec(window=EncoderWindow(2, 0.1, 0.1, None, positions="clip")),
    "live": FeatureSpec(window=EncoderWindow(5, 0.3, 0.2, None, positions="clip")),
    "live-near": FeatureSpec(window=EncoderWindow(10, 1, 0.5, None, positions="clip")),
    "live-exact": FeatureSpec(decoder="librosa"),
}
SPEC_NAMES = tuple(_SPECS)
