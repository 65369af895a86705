"""Two ways of making chunks, side by side: which frames agree, which do not, and why."""

from dataclasses import dataclass
from html import escape

import numpy as np

from musetools.chunks import ZERO_ROW, Chunks
from musetools.errors import ParameterError

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """Which frames of a clip get the same chunk from two paths, bit for bit.

    Attributes
    ----------
    names : (str, str)
        What the two paths are called.
    equal, unequal : tuple of int
        Frames that both have, with equal and with unequal chunks.
    only_first, only_second : tuple of int
        Frames that one path alone has.
    reasons : tuple of str
        Why, in sentences.
    """

    names: tuple[str, str]
    equal: tuple[int, ...]
    unequal: tuple[int, ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    reasons: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Say what was found, computed from the numbers."""
        total = len(self.equal) + len(self.unequal) + len(self.only_first) + len(self.only_second)
        said = [f"{len(self.equal)} of {total} frames get the same chunk from {' and '.join(self.names)}, bit for bit."]
        if self.unequal:
            said.append(f"{len(self.unequal)} get different chunks: {_spans(self.unequal)}.")
        for name, frames in zip(self.names, (self.only_first, self.only_second), strict=True):
            if frames:
                said.append(f"{len(frames)} exist in {name} alone: {_spans(frames)}.")
        return [*said, *self.reasons]

    def __repr__(self) -> str:
        return "\n".join(self.sentences())

    def _repr_html_(self) -> str:
        return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in self.sentences()) + "</ul>"


def agreement(first: Chunks, second: Chunks, *, names: tuple[str, str] = ("training", "inference")) -> Agreement:
    """Compare the chunks that two paths cut for one clip, frame by frame.

    Parameters
    ----------
    first, second : Chunks
        Chunks of one clip at one frame rate.
    names : (str, str)
        What the two paths are called.

    Returns
    -------
    Agreement

    Raises
    ------
    ParameterError
        If the frame rates or the shapes of a chunk differ.
    """
    if first.fps != second.fps or first.chunk_shape != second.chunk_shape:
        raise ParameterError(f"chunks of one frame rate and shape can be compared; got {first!r} and {second!r}")
    shared = range(max(first.frames.start, second.frames.start), min(first.frames.stop, second.frames.stop))
    same = {i for i in shared if _same(first[first.frames.index(i)], second[second.frames.index(i)])}
    return Agreement(
        names,
        tuple(sorted(same)),
        tuple(i for i in shared if i not in same),
        tuple(i for i in first.frames if i not in shared),
        tuple(i for i in second.frames if i not in shared),
        tuple(_reasons(first, second, [i for i in shared if i not in same], names)),
    )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _reasons(first: Chunks, second: Chunks, unequal: list[int], names: tuple[str, str]) -> list[str]:
    """Find the causes in the index matrices; what they do not explain lies in the features."""
    reasons = []
    for chunks, name, other, other_name in ((first, names[0], second, names[1]), (second, names[1], first, names[0])):
        alone = [i for i in chunks.frames if i not in other.frames]
        for kind, frames in _edges(chunks, alone).items():
            reasons.append(f"In {len(frames)} of the frames that {other_name} lacks, {name} {kind}: {_spans(frames)}.")
    moved = [i for i in unequal if not np.array_equal(_rows(first, i), _rows(second, i))]
    if moved:
        reasons.append(f"{len(moved)} of the unequal take different rows: {_spans(moved)}.")
    if len(moved) < len(unequal):
        reasons.append(f"{len(unequal) - len(moved)} of the unequal take the same rows with other values in them.")
    return reasons


def _edges(chunks: Chunks, frames: list[int]) -> dict[str, list[int]]:
    """Sort frames by what their chunk does at an edge of the clip."""
    kinds: dict[str, list[int]] = {}
    for frame in frames:
        rows = _rows(chunks, frame)
        if (rows == ZERO_ROW).any():
            kinds.setdefault("takes rows of zeros", []).append(frame)
        elif len(set(rows.tolist())) < len(rows):
            kinds.setdefault("repeats the first or last row", []).append(frame)
    return kinds


def _rows(chunks: Chunks, frame: int) -> np.ndarray:
    return chunks.rows[chunks.frames.index(frame)]


def _spans(frames: tuple[int, ...] | list[int]) -> str:
    """Write frame numbers as spans: 0–1, 299–300."""
    breaks = np.flatnonzero(np.diff(frames) != 1) + 1
    spans = np.split(np.asarray(frames), breaks)
    text = ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}–{s[-1]}" for s in spans[:6])
    return text + (f" and {len(spans) - 6} more spans" if len(spans) > 6 else "")
