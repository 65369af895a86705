"""A table that a notebook shows as HTML and a terminal as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Table"]


@dataclass(frozen=True, repr=False)
class Table:
    """Lines of cells under a head.

    Parameters
    ----------
    head : sequence of str
        Name of each column.
    lines : sequence of sequences of str
        Cells.
    caption : str, default ""
        What to know when reading it.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    caption: str = ""

    def __repr__(self) -> str:
        cells = [[str(cell) for cell in line] for line in (self.head, *self.lines)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        text = "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
        return f"{text}\n{self.caption}".rstrip()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(str(cell))}</th>" for cell in self.head)
        rows = ("".join(f"<td>{escape(str(cell))}</td>" for cell in line) for line in self.lines)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{escape(self.caption)}</p>"
