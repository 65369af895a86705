"""The answer of notebook 05: what a live stream costs, how far it is from offline, and when its chunks come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from musetools import RECIPES, ChunkStream, Encoder, EncoderWindow, FeatureSpec, ParameterError, audio2feat
from musetools.errors import at_least
from musetools.lab.answer import Answer
from musetools.lab.streaming.measure import (
    REFERENCE,
    WindowCost,
    arrivals,
    memory_over,
    row_distance,
    segment_levels,
    stream_errors,
    window_cost,
)
from musetools.lab.streaming.trade import LEFTS_S, RIGHTS_S, Trade, cost_table, trade
from musetools.table import Table, minus
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["BASELINE", "SEGMENTS", "Streaming", "evaluate"]

BASELINE = "LiveTalking's buffer"
PADDED = "LiveTalking's buffer, positions of the clip"
NOT_PADDED = "LiveTalking's buffer, positions of the clip, not padded"
FROM_START = "live, positions of the window"
NAMED = ("live-low", "live", "live-near")  # the specs that are chosen by these numbers
WAYS = {
    **{name: name for name in NAMED},
    FROM_START: replace(FeatureSpec.named("live").window, positions="window"),
    NOT_PADDED: EncoderWindow(0.2, 0.64, 0.2, None, positions="clip"),
    PADDED: EncoderWindow(0.2, 0.64, 0.2, 30, positions="clip"),
    BASELINE: RECIPES["livetalking"].features.window,
}
SEGMENTS = {
    "hard 30 s": EncoderWindow(0, 30, 0, 30, positions="clip"),
    "20 s that see 5 s more": EncoderWindow(5, 20, 5, 30, positions="clip"),
}
CHECKED_FPS, CHECKED_S = (24, 25, 29.97, 30), 10


@dataclass(frozen=True, eq=False, repr=False)
class Streaming(Answer):
    """What live streams were measured to do."""

    errors: dict[float, tuple[int, float]]  # see `stream_errors`
    trade: Trade  # many windows, and what distances are stated in
    costs: dict[str, WindowCost]  # by way to stream; `BASELINE` is LiveTalking's
    beside: dict[str, tuple[WindowCost, WindowCost]]  # by named spec: half and twice its left context
    gaps: dict[str, np.ndarray]  # `row_distance` of each of `SEGMENTS` from features with 14 s either side of every row
    played: np.ndarray  # the waveform that was played in real time
    stream: ChunkStream  # what it was played into
    came: np.recarray  # see `arrivals`
    memory: np.ndarray  # see `memory_over`

    @property
    def levels(self) -> dict[str, float]:
        """The farthest row beside a segment boundary."""
        return segment_levels(self.gaps, SEGMENTS)

    @property
    def padding_cost(self) -> float:
        """How many times as long a step takes when padded to 30 s."""
        return self.costs[PADDED].step_ms / self.costs[NOT_PADDED].step_ms

    def sentences(self) -> list[str]:
        """Write the answer in three sentences: `live` against LiveTalking's way, why, and what training can do."""
        live, slow, placed = (self.costs[name] for name in ("live", BASELINE, PADDED))
        context = slow.overall - self.costs[FROM_START].overall  # what more audio alone would mend
        counts = "positions, not context, count" if slow.overall - placed.overall > context else "context counts"
        worst = max(error for _, error in self.errors.values())
        return [
            f"“live” comes {live.latency_s:.2f} s behind the sound, computes {100 * live.of_real_time:.0f} % of real "
            f"time on one thread, and lies {live.of_a_row:.2f} times as far from offline as neighbouring rows lie from "
            f"each other; {BASELINE} lies {slow.of_a_row:.2f} times as far and computes "
            f"{slow.of_real_time / live.of_real_time:.1f} times as much, {slow.latency_s:.2f} s behind.",
            f"For distance {counts}: with positions of the clip that buffer would lie {placed.of_a_row:.2f} times as "
            f"far, with the audio of “live” but its own positions {self.costs[FROM_START].of_a_row:.2f} times.",
            f"Stream and offline path with the same spec differ by {worst:g} at most, at {len(self.errors)} frame "
            f"rates: a model can{'not' if worst else ''} be trained on exactly what it gets live.",
        ]

    def choice_sentences(self) -> list[str]:
        """Write why the named specs are what they are: what half and twice their left context would change."""
        return [
            f"{name} sees {cost.window.left_s:g} s back, {cost.latency_s:.2f} s behind: half of that would lie "
            + minus(f"{100 * (less.overall / cost.overall - 1):.0f} % farther from offline for ")
            + f"{less.of_real_time / cost.of_real_time:.2f} times the computing, twice that "
            + minus(f"{100 * (cost.overall / more.overall - 1):.0f} % nearer for ")
            + f"{more.of_real_time / cost.of_real_time:.2f} times."
            for name, (less, more) in self.beside.items()
            for cost in [self.costs[name]]
        ]

    def ways_table(self) -> Table:
        """Return the ways to stream, the nearest to offline first."""
        return cost_table(dict(sorted(self.costs.items(), key=lambda item: item[1].overall)))

    def same_table(self) -> Table:
        """Return how far stream and offline path are apart, by frame rate."""
        lines = [[f"{fps:g}", str(n), f"{error:g}"] for fps, (n, error) in self.errors.items()]
        return Table(["fps", "frames", "largest difference"], lines)


def evaluate(
    voice: np.ndarray,
    more: np.ndarray,
    encoder: Encoder,
    *,
    window: str | FeatureSpec = "live",
    fps: float = 25,
    lefts_s: Sequence[float] = LEFTS_S,
    rights_s: Sequence[float] = RIGHTS_S,
    hop_s: float = 0.3,
    seconds: float = 20,
    play_s: float = 5,
    hours: float = 1,
    padded: bool = False,
    passes: int = 16,
) -> Streaming:
    """Stream speech in many ways, and measure: the answer of notebook 05.

    Parameters
    ----------
    voice, more : ndarray of float32, shape (n_samples,)
        Speech at 16 kHz: 30 s or more, and what follows it where segment boundaries are shown.
    encoder : Encoder
        The weights.
    window : str or FeatureSpec, default "live"
        What is played and checked against the offline path.
    fps : float, default 25
        Video frames per second of what is played.
    lefts_s, rights_s, hop_s, padded, passes
        The grid of windows, with one hop: see `trade`.
    seconds, play_s : float
        Speech streamed for each measurement, and played in real time.
    hours : float, default 1
        Audio pushed through to read the memory.

    Returns
    -------
    Streaming

    Raises
    ------
    ParameterError
        If `voice` and `more` are too short together for a boundary at 30 s, a number is out of range, or no chunk comes
        in what is played.
    """
    at_least("passes", passes, 4)
    at_least("play_s", play_s, 2)
    at_least("hours", hours, 0.01)
    longer, needed = np.concatenate([voice, more]), max(way.hop_s for way in SEGMENTS.values()) + REFERENCE.right_s
    if len(longer) < needed * SAMPLE_RATE:
        raise ParameterError(
            f"segment boundaries are compared over {needed:g} s of speech or more; got {len(longer) / SAMPLE_RATE:.2f} "
            "s together. Take a longer second recording"
        )
    speech, played = voice[: int(seconds * SAMPLE_RATE)], voice[: int(play_s * SAMPLE_RATE)]
    errors = stream_errors(speech[: CHECKED_S * SAMPLE_RATE], encoder, window, CHECKED_FPS)
    stream = ChunkStream(encoder, fps, window=window)
    came = arrivals(stream, played)
    grid = trade(speech, encoder, lefts_s=lefts_s, rights_s=rights_s, hops_s=[hop_s], padded=padded, passes=passes)
    cost = partial(window_cost, speech, encoder, grid.offline, grid.content, passes=passes)
    reference, *segments = (
        audio2feat((longer, SAMPLE_RATE), encoder, spec=FeatureSpec(window=way))
        for way in (REFERENCE, *SEGMENTS.values())
    )
    gaps = {name: row_distance(rows, reference, grid.content) for name, rows in zip(SEGMENTS, segments, strict=True)}
    # buffers do not depend on depth, so the encoder's input layer is enough to read the memory
    endless = ChunkStream(encoder.truncated(1), fps, window=EncoderWindow(2, 0.64, 0.2, None, positions="clip"))
    costs = {name: cost(way) for name, way in WAYS.items()}
    beside = {name: (cost(_looking_back(name, 0.5)), cost(_looking_back(name, 2))) for name in NAMED}
    memory = memory_over(endless, voice, hours)
    return Streaming(errors, grid, costs, beside, gaps, played, stream, came, memory)


def _looking_back(name: str, times: float) -> EncoderWindow:
    """Return the window of a named spec with so many times its left context."""
    window = FeatureSpec.named(name).window
    return replace(window, left_s=round(times * window.left_s * ROW_RATE) / ROW_RATE)
