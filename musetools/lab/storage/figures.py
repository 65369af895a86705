"""Storage and loading in a table and figures: one bar chart for all of them."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from musetools.lab.look import COLOURS, TRAIN, figure
from musetools.lab.storage.layouts import BASELINE
from musetools.lab.storage.measure import FLOAT16, FLOAT32, PCM, SOURCE
from musetools.table import Table

__all__ = ["float16_figure", "rate_figure", "size_figure", "size_table", "worker_figure"]

AUDIO, STORE, OTHER = "the audio itself", "features in a store", "features in other layouts"
ERROR = "largest error of float16"
COLOUR_OF = {AUDIO: COLOURS["black"], STORE: TRAIN, OTHER: COLOURS["orange"], ERROR: TRAIN}
KIND_OF = {SOURCE: AUDIO, PCM: AUDIO, FLOAT16: STORE, FLOAT32: STORE}  # of sizes


def size_table(sizes: dict[str, int], duration_s: float, hours: float) -> Table:
    """Return the sizes of one clip by layout, and scaled to a corpus."""
    scale = hours * 3600 / duration_s / 1e9
    cells = [[name, f"{n / 1e6:.2f} MB", f"{n * scale:.1f} GB", f"{n / sizes[PCM]:.2g}"] for name, n in sizes.items()]
    return Table(["layout", f"{duration_s:.2f} s", f"{hours:g} h", "times PCM"], cells)


def size_figure(sizes: dict[str, int], duration_s: float, hours: float) -> Figure:
    """Draw what a corpus takes on the disk in each layout."""
    gigabytes = {name: n * hours * 3600 / duration_s / 1e9 for name, n in sizes.items()}
    kinds, labels = [KIND_OF.get(name, OTHER) for name in sizes], [f"{gb:,.0f} GB" for gb in gigabytes.values()]
    title = f"Features in float32 take {sizes[FLOAT32] / sizes[PCM]:.0f} times the size of their 16-bit audio"
    return _bars(gigabytes, labels, kinds, title, xlabel=f"GB on the disk for {hours:g} h", xmargin=0.12)


def float16_figure(errors: np.ndarray, *, weights: str) -> Figure:
    """Draw the largest error of float16, layer by layer."""
    values = {f"layer {i}": 1000 * error for i, error in enumerate(errors)}
    labels = [f"{value:.2f}" for value in values.values()]
    title = f"float16 is off by {errors.max():.2g} standard deviations at most · weights: {weights}"
    return _bars(
        values, labels, [ERROR] * len(errors), title, xlabel="thousandths of a standard deviation", xmargin=0.1
    )


def rate_figure(rates: dict[str, float]) -> Figure:
    """Draw how many items a second each layout gives, without workers."""
    base, best = rates[BASELINE], max(rates, key=rates.get)
    title = f"{best} loads {rates[best] / base:.0f} times as fast as one npy a frame"
    return _rate_bars(rates, [f", {rate / base:.0f}×" for rate in rates.values()], title, "no workers")


def worker_figure(rates: dict[int, float]) -> Figure:
    """Draw what DataLoader workers do to features alone."""
    named = {f"store, {n} workers": rate for n, rate in rates.items()}
    title = f"Features alone load fastest with {max(rates, key=rates.get)} workers"
    return _rate_bars(named, [""] * len(rates), title, "store in float32")


def _rate_bars(rates: dict[str, float], ratios: list[str], title: str, how: str) -> Figure:
    thousands = {name: rate / 1000 for name, rate in rates.items()}
    labels = [f"{value:,.1f} thousand{ratio}" for value, ratio in zip(thousands.values(), ratios, strict=True)]
    kinds = [STORE if name.startswith("store") else OTHER for name in rates]
    return _bars(thousands, labels, kinds, title, xlabel=f"thousand items per second, {how}", xmargin=0.3)


def _bars(values: dict[str, float], labels: list[str], kinds: list[str], title: str, **axis: object) -> Figure:
    """Draw a labelled bar for each value, in the colour of its kind."""
    with figure(figsize=(9, 1.3 + 0.4 * len(values))) as (fig, [[ax]]):
        ax.set(title=title, **axis)
        bars = ax.barh(list(values), list(values.values()), color=[COLOUR_OF[kind] for kind in kinds])
        ax.bar_label(bars, labels, padding=4)
        ax.invert_yaxis()
        handles = [Patch(color=COLOUR_OF[kind], label=kind) for kind in dict.fromkeys(kinds)]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig
