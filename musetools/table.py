"""A table that a notebook shows as HTML and a terminal as text, and how numbers are written."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from unicodedata import combining, east_asian_width

import numpy as np

__all__ = ["SHADES", "ShownAsText", "Table", "minus", "printable", "signed", "spans"]

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
SHADES = {"bad": "#f3c9ae", "fair": "#fbeecb", "good": "#cfe8dd"}  # vermilion, orange, green of Okabe-Ito, pale


class ShownAsText:
    """Base of what a notebook shows by its repr."""

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap"><code>{escape(repr(self))}</code></pre>'


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
    shades : sequence of str, default ()
        Background of each line, a CSS colour; "" for none.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    caption: str = ""
    shades: Sequence[str] = ()

    def __repr__(self) -> str:
        cells = [[printable(str(cell)).replace("\n", "\\n") for cell in line] for line in (self.head, *self.lines)]
        widths = [max(map(_columns, column)) for column in zip(*cells, strict=True)]
        text = "\n".join("  ".join(map(_padded, line, widths)).rstrip() for line in cells)
        return f"{text}\n{self.caption}".rstrip()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(str(cell))}</th>" for cell in self.head)
        rows = ("".join(f"<td>{escape(str(cell))}</td>" for cell in line) for line in self.lines)
        styles = [f' style="background:{escape(shade)};color:black"' if shade else "" for shade in self.shades]
        body = "".join(f"<tr{style}>{row}</tr>" for row, style in zip_longest(rows, styles, fillvalue=""))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{escape(self.caption)}</p>"


def printable(text: str) -> str:
    """Write control characters and those that turn the direction of text as escapes: a file's name may hold them."""
    return HIDDEN.sub(lambda hidden: ascii(hidden[0])[1:-1], text)


def _columns(text: str) -> int:
    """Count the columns of a terminal that a text takes: two for a Chinese character, none for a combining mark."""
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def minus(text: str) -> str:
    """Write a formatted number with a minus sign in place of the hyphen."""
    return text.replace("-", "−")


def signed(number: float, digits: int = 0) -> str:
    """Write a number with its sign, but without one where it rounds to 0."""
    return minus(f"{number:+.{digits}f}") if round(number, digits) else f"{0:.{digits}f}"


def spans(frames: Iterable[int]) -> str:
    """Write frame or row numbers as spans: 0–1, 299–300."""
    frames = np.asarray(list(frames))
    parts = np.split(frames, np.flatnonzero(np.diff(frames) != 1) + 1)
    text = ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}–{s[-1]}" for s in parts[:6])
    return text + (f" and {len(parts) - 6} more spans" if len(parts) > 6 else "")
