"""The answer of notebook 05: what a live stream costs, how far it is from offline, and when its chunks come."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import EncoderWindow, FeatureSpec
from musetools.infer.stream import ChunkStream
from musetools.lab.answer import Answer
from musetools.lab.streaming.measure import (
    REFERENCE,
    WindowCost,
    arrivals,
    memory_over,
    row_distance,
    segment_levels,
    segment_sentence,
    stream_errors,
    window_cost,
)
from musetools.recipes.recipe import RECIPES
from musetools.timing import SAMPLE_RATE

__all__ = ["BASELINE", "SEGMENTS", "Streaming", "evaluate"]

BASELINE = "LiveTalking's buffer"
PADDED = "LiveTalking's buffer, positions of the clip"
WAYS = {
    "live-low": "live-low",
    "live": "live",
    "live, positions of the window": EncoderWindow(5, 0.3, 0.2, None),
    PADDED: EncoderWindow(0.2, 0.64, 0.2, 30, positions="clip"),
    BASELINE: RECIPES["livetalking"].features.window,
}
BARE = EncoderWindow(0.2, 0.64, 0.2, None, positions="clip")
SEGMENTS = {
    "hard 30 s": EncoderWindow(0, 30, 0, 30, positions="clip"),
    "20 s that see 5 s more": EncoderWindow(5, 20, 5, 30, positions="clip"),
}
CHECKED_FPS, CHECKED_S = (24, 25, 29.97, 30), 10
SEGMENT_S = 30  # of offline features: one full segment, none of it padding


@dataclass(frozen=True, eq=False, repr=False)
class Streaming(Answer):
    """What live streams were measured to do."""

    errors: dict[float, tuple[int, float]]  # see `stream_errors`
    grid: Sequence[Sequence[WindowCost]]  # by left context, then look-ahead
    costs: dict[str, WindowCost]  # by way to stream; `BASELINE` is LiveTalking's
    bare: WindowCost  # LiveTalking's buffer without padding
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
        return self.costs[PADDED].step_ms / self.bare.step_ms

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return [
            *(
                f"{fps} fps: {n} frames, stream and offline path differ by {error:g} at most."
                for fps, (n, error) in self.errors.items()
            ),
            *_grid_sentences(self.grid),
            *_way_sentences(self.costs),
            f"A step of {BASELINE} takes {self.bare.step_ms:.1f} ms without padding, "
            f"{self.costs[PADDED].step_ms:.1f} ms padded to 30 s: {self.padding_cost:.0f} times as much.",
            f"{segment_sentence(self.levels)} standard deviations.",
        ]


def _grid_sentences(grid: Sequence[Sequence[WindowCost]]) -> list[str]:
    first, last = grid[0], grid[-1]
    return [
        f"Left context: from {first[-1].window.left_s:g} to {last[-1].window.left_s:g} s the distance from offline "
        f"falls from {first[-1].overall:.2f} to {last[-1].overall:.2f} standard deviations, and computing grows from "
        f"{100 * first[-1].of_real_time:.0f} to {100 * last[-1].of_real_time:.0f} % of real time.",
        f"Look-ahead: from {first[0].window.right_s:g} to {first[-1].window.right_s:g} s, at "
        f"{last[0].window.left_s:g} s of left context, it falls from {last[0].overall:.3f} to {last[-1].overall:.3f}, "
        f"and every frame waits {1000 * (last[-1].latency_s - last[0].latency_s):.0f} ms longer.",
    ]


def _way_sentences(costs: dict[str, WindowCost]) -> list[str]:
    slow = costs[BASELINE]
    return [
        f"{name}: {cost.overall:.2f} from offline, {cost.latency_s:.2f} s behind; {BASELINE} is {slow.overall:.2f} "
        f"from it and costs {slow.of_real_time / cost.of_real_time:.1f} times as much."
        for name, cost in costs.items()
        if name != BASELINE
    ]


def evaluate(
    voice: np.ndarray,
    more: np.ndarray,
    encoder: Encoder,
    *,
    window: str | FeatureSpec = "live",
    fps: float = 25,
    lefts_s: Sequence[float] = (0.2, 1.0, 2.0, 5.0),
    rights_s: Sequence[float] = (0.04, 0.2, 0.5),
    hop_s: float = 0.3,
    seconds: float = 20,
    play_s: float = 5,
    hours: float = 1,
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
    lefts_s, rights_s : sequence of float
        Left contexts and look-aheads of the grid, in seconds.
    hop_s : float, default 0.3
        Seconds kept by a step of the grid.
    seconds, play_s : float
        Speech streamed for each measurement, and played in real time.
    hours : float, default 1
        Audio pushed through to read the memory.

    Returns
    -------
    Streaming
    """
    speech, played = voice[: int(seconds * SAMPLE_RATE)], voice[: int(play_s * SAMPLE_RATE)]
    offline = audio2feat((voice[: SEGMENT_S * SAMPLE_RATE], SAMPLE_RATE), encoder)
    errors = stream_errors(speech[: CHECKED_S * SAMPLE_RATE], encoder, window, CHECKED_FPS)
    stream = ChunkStream(encoder, fps, window=window)
    came = arrivals(stream, played)
    cost = partial(window_cost, speech, encoder, offline)
    longer = (np.concatenate([voice, more]), SAMPLE_RATE)
    reference = audio2feat(longer, encoder, spec=FeatureSpec(window=REFERENCE))
    # buffers do not depend on depth, so the encoder's input layer is enough to read the memory
    endless = ChunkStream(encoder.truncated(1), fps, window=EncoderWindow(2, 0.64, 0.2, None, positions="clip"))
    return Streaming(
        errors,
        [[cost(EncoderWindow(left, hop_s, right, None, positions="clip")) for right in rights_s] for left in lefts_s],
        {name: cost(way) for name, way in WAYS.items()},
        cost(BARE),
        {
            name: row_distance(audio2feat(longer, encoder, spec=FeatureSpec(window=way)), reference)
            for name, way in SEGMENTS.items()
        },
        played,
        stream,
        came,
        memory_over(endless, voice, hours),
    )
