"""One check of any figure: it is drawn, has a title, units, a legend, and the texts that are asked for."""

import io
from collections.abc import Iterable

from matplotlib.figure import Figure


def written(figure: Figure) -> list[str]:
    """Return titles, axis labels and legend entries."""
    titles = [ax.get_title(side) for ax in figure.axes for side in ("left", "center")]
    labels = [label for ax in figure.axes for label in (ax.get_xlabel(), ax.get_ylabel())]
    keys = [key for key in (*figure.legends, *(ax.get_legend() for ax in figure.axes)) if key]
    return [text for text in (*titles, *labels, *(entry.get_text() for key in keys for entry in key.texts)) if text]


def check(figure: Figure, units: Iterable[str], texts: Iterable[str] = (), *, legend: bool = True) -> None:
    """Draw a figure as a notebook does; `units` are axis labels, `texts` occur in what is written."""
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    assert any(ax.get_title(side) for ax in figure.axes for side in ("left", "center"))
    assert bool(figure.legends or any(ax.get_legend() for ax in figure.axes)) == legend
    found = written(figure)
    assert set(units) <= set(found), found
    assert not any(text.startswith("_") for text in found)
    everything = "\n".join(found)
    assert not [text for text in texts if text not in everything], everything
