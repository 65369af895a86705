"""Distance from offline against latency and computing, for many windows: what the named live specs are chosen by."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil

import numpy as np

from musetools import Encoder, EncoderWindow, audio2feat
from musetools.lab.answer import Answer
from musetools.lab.content import Content, measure_content
from musetools.lab.streaming.measure import WindowCost, window_cost
from musetools.table import Table
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE

__all__ = ["LEFTS_S", "RIGHTS_S", "Trade", "cost_table", "trade"]

LEFTS_S, RIGHTS_S = (0.2, 2, 5, 10), (0.04, 0.2, 0.5)
BESIDE_S = 0.2  # look-ahead with which other positions and padding are measured


@dataclass(frozen=True, eq=False, repr=False)
class Trade(Answer):
    """What windows cost, and how far their features are from offline ones."""

    weights: str  # name of the encoder
    content: Content
    offline: np.ndarray  # (n_rows, n_layers, width): features of whole 30 s segments, which all are compared with
    grid: tuple[WindowCost, ...]  # every left context with every look-ahead and hop: positions of the clip, not padded
    others: tuple[WindowCost, ...]  # the same left contexts with other positions, and padded

    def table(self) -> Table:
        """Return every window, the nearest first."""
        costs = sorted((*self.grid, *self.others), key=lambda cost: cost.overall)
        return cost_table({str(place + 1): cost for place, cost in enumerate(costs)})


def cost_table(costs: dict[str, WindowCost]) -> Table:
    """Return what each way to stream costs, and how far it is from offline."""
    lines = [
        {
            "": name,
            "left, hop, look-ahead in s": f"{cost.window.left_s:g}, {cost.window.hop_s:g}, {cost.window.right_s:g}",
            "padded to": "not padded" if cost.window.pad_to_s is None else f"{cost.window.pad_to_s:g} s",
            "positions": cost.positions,
            "latency": f"{cost.latency_s:.2f} s",
            "a step": f"{cost.step_ms:.1f} ms",
            "of one core": f"{100 * cost.of_real_time:.1f} %",
            "all layers": f"{cost.of_a_row:.2f}",
            **{f"layer {i}": f"{value:.3f}" for i, value in enumerate(cost.by_layer)},
        }
        for name, cost in costs.items()
    ]
    neighbours = ", ".join(f"{value:.2f}" for value in next(iter(costs.values())).neighbours)
    caption = (
        "Layers: distance from the offline features, in standard deviations of that layer's content; neighbouring "
        f"offline rows differ by {neighbours}. All layers: over what neighbouring rows differ by."
    )
    return Table([*lines[0]], [[*line.values()] for line in lines], caption)


def trade(
    waveform: np.ndarray,
    encoder: Encoder,
    *,
    lefts_s: Sequence[float] = LEFTS_S,
    rights_s: Sequence[float] = RIGHTS_S,
    hops_s: Sequence[float] = (0.3,),
    padded: bool = False,
    passes: int = 16,
) -> Trade:
    """Measure distance from offline, latency and computing of many windows.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        Speech at 16 kHz, longer than the largest left context.
    encoder : Encoder
        The weights.
    lefts_s, rights_s, hops_s : sequence of float
        Left contexts, look-aheads and hops, in seconds, multiples of 0.02.
    padded : bool, default False
        Whether windows padded to 30 s are measured too; that takes long. These, and those with other positions, have
        the last hop and 0.2 s of look-ahead.
    passes : int, default 16
        Encoder passes of each window, spread evenly over the waveform, at most.

    Returns
    -------
    Trade
    """
    segment = encoder.max_rows * ROW_SAMPLES
    whole = np.resize(waveform, ceil(len(waveform) / segment) * segment)  # padding would be a difference of its own
    offline = audio2feat((whole, SAMPLE_RATE), encoder)[: len(waveform) // ROW_SAMPLES]
    content = measure_content(waveform, encoder)
    cost = partial(window_cost, waveform, encoder, offline, content, passes=passes)
    grid = [
        cost(EncoderWindow(left, hop, right, None, positions="clip"))
        for left, right, hop in product(lefts_s, rights_s, hops_s)
    ]
    kinds = [(None, "window", False), (None, "clip", True)]  # padded to, positions, whether fixed in the middle
    if padded:
        kinds += [(30, "clip", False), (30, "window", False)]
    others = [
        cost(EncoderWindow(left, hops_s[-1], BESIDE_S, pad_to_s, positions=positions), fixed=fixed)
        for left, (pad_to_s, positions, fixed) in product(lefts_s, kinds)
    ]
    return Trade(encoder.name, content, offline, tuple(grid), tuple(others))
