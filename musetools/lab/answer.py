"""What a room shows: sentences that are computed from numbers, a table of the numbers, and a box for the answer."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from musetools.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Answer", "AnswerBox"]

MEASURED_WITH = "tiny.en"  # the weights of every figure in README and docs
BOX = "border: 2px solid #0072B2; border-radius: 6px; padding: 0.6em 1em; margin: 0.4em 0"


def _caution(weights: str) -> list[str]:
    """Say of weights that the documentation was not measured with what carries over."""
    if weights == MEASURED_WITH:
        return []
    values = "have no meaning" if weights.startswith("untrained") else "may be others"
    return [
        f"Weights: {weights}. What the documentation states was measured with {MEASURED_WITH}: rows, lag, edges and "
        f"sizes are the same with any weights, distances, costs and R² {values}."
    ]


class Answer:
    """Base of what shows itself by its sentences and its table, as text and as HTML."""

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return []

    def table(self) -> Table | None:
        """Return the numbers as a table, if that is shown."""
        return None

    def __repr__(self) -> str:
        table = self.table()
        return "\n".join([*self.sentences(), *([repr(table)] if table else [])])

    def _repr_html_(self) -> str:
        items, table = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.sentences()), self.table()
        return (f"<ul>{items}</ul>" if items else "") + (table._repr_html_() if table else "")


class AnswerBox:
    """What stands first in a notebook: the answer in two or three computed sentences, and the figure that shows them.

    Shown with ``display(box, display_id=True)``, it can be updated by a later cell.

    Parameters
    ----------
    sentences : sequence of str
        The answer.
    figure : Figure, optional
        What shows it.
    weights : str, default "tiny.en"
        Name of the encoder; of other weights a last sentence says what carries over.
    """

    def __init__(self, sentences: Sequence[str], figure: "Figure | None" = None, *, weights: str = MEASURED_WITH):
        self.sentences = [*dict.fromkeys([*sentences, *_caution(weights)])]  # two pairs may be the same one
        self.figure = figure

    def __repr__(self) -> str:
        return "\n".join(["Answer", *self.sentences])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        """Show a page one box, and what knows pictures alone the figure."""
        from IPython.core.pylabtools import print_figure  # takes 0.2 s, and only notebooks show boxes

        shown = {"text/plain": repr(self)}
        content = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        if self.figure is not None:
            png, alt = print_figure(self.figure, base64=True), escape(self.sentences[0])
            content += f'<img alt="{alt}" style="max-width: 100%" src="data:image/png;base64,{png}">'
            shown["image/png"] = png
        shown["text/html"] = f'<div style="{BOX}"><b>Answer</b>{content}</div>'
        return shown
