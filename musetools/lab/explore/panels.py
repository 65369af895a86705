"""Panels over time in the picture of one frame: each draws what is fixed once, and the rest for each frame."""

from collections import Counter

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from musetools.chunks.rows import ZERO_ROW
from musetools.lab.explore.scene import Scene
from musetools.lab.look import COLOURS
from musetools.table import spans
from musetools.timing import MEL_HOP, ROW_MS, SAMPLE_RATE

__all__ = ["REPEATED", "SILENCE", "ClipPanel", "MelPanel", "RowsPanel", "SoundPanel"]

SILENCE = "#DADADA"
REPEATED = COLOURS["yellow"]
HALVES = ((0.0, 0.5), (0.5, 1.0))  # of a panel's height: training's window below, inference's above
COLUMNS = 600  # of a waveform: the least and the greatest sample in each
NUMBERED_MS = 1000  # up to this span there is room for the number of every row
CELL = 0.38  # half the height of a row's cell


class ClipPanel:
    """The waveform of the whole clip, its silent stretches, and where the frame is."""

    def __init__(self, ax: Axes, scene: Scene):
        self.scene = scene
        end = max(scene.clip.duration_s, scene.start_s(scene.n_frames))
        low, high = _extremes(scene.clip.waveform, 2 * COLUMNS)
        ax.fill_between(np.linspace(0, scene.clip.duration_s, len(low)), low, high, color="0.35", linewidth=0.4)
        for first, stop in _runs(scene.silent):
            ax.axvspan(scene.start_s(first), min(end, scene.start_s(stop)), color=SILENCE, zorder=0, linewidth=0)
        _amplitudes(ax, scene)
        ax.set(xlim=(0, end), xlabel="time in s")
        silent = f"{100 * scene.silent.mean():.0f} % of {scene.n_frames} frames silent"
        what = f"{scene.clip.name}: {scene.clip.duration_s:.2f} s at {float(scene.fps):.5g} fps, {silent}"
        ax.set_title(what, parse_math=False)
        self.cursor = ax.axvline(0, color=COLOURS["purple"], linewidth=2)
        self.artists: list[Artist] = [self.cursor]

    def show(self, frame: int) -> None:
        """Move to a frame."""
        self.cursor.set_xdata([self.scene.start_s(frame)] * 2)


class SoundPanel:
    """The waveform around the frame, the stretch that each side's rows are centred on, silence."""

    def __init__(self, ax: Axes, scene: Scene):
        self.scene, self.ax = scene, ax
        _amplitudes(ax, scene)
        ax.tick_params(labelbottom=False)
        ax.set_title("What the frame's chunk covers: training below, inference above")
        top = ax.get_ylim()[1]
        ax.plot([0, 1000 / float(scene.fps)], [top, top], color="black", linewidth=5, solid_capstyle="butt")
        ax.axvline(0, color="black", linestyle="--", linewidth=1)
        self.silence = ax.add_collection(PolyCollection([], facecolor=SILENCE, linewidth=0))
        self.windows = [
            ax.add_patch(Rectangle((0, low), 0, 0.5, transform=ax.get_xaxis_transform(), fc=side.colour, alpha=0.35))
            for side, (low, _) in zip(scene.sides, HALVES, strict=True)
        ]
        (self.line,) = ax.plot([], [], color="0.15", linewidth=0.7)
        self.artists: list[Artist] = [self.silence, *self.windows, self.line]

    def show(self, frame: int) -> None:
        """Move to a frame."""
        scene, start, reach = self.scene, 1000 * self.scene.start_s(frame), self.ax.get_xlim()[1]
        first, stop = (max(0, int((start + edge) * SAMPLE_RATE / 1000)) for edge in (-reach, reach))
        low, high = _extremes(scene.clip.waveform[first:stop], COLUMNS)
        times = np.linspace(first, min(stop, len(scene.clip.waveform)), len(low)) * 1000 / SAMPLE_RATE - start
        self.line.set_data(np.repeat(times, 2), np.column_stack([low, high]).ravel())
        bottom, top = self.ax.get_ylim()
        edges = 1000 * np.array(_runs(scene.silent)).reshape(-1, 2) / float(scene.fps) - start
        near = edges[(edges[:, 1] > -reach) & (edges[:, 0] < reach)].clip(-reach, reach)
        self.silence.set_verts([[(a, bottom), (a, top), (b, top), (b, bottom)] for a, b in near])
        for box, side in zip(self.windows, scene.sides, strict=True):
            window = side.window_s(frame)
            box.set_visible(window is not None)
            left, right = (1000 * edge - start for edge in window or (0, 0))
            box.set(x=left, width=right - left)


class MelPanel:
    """The log-mel around the frame, with the edges of what each side's chunk covers."""

    def __init__(self, ax: Axes, bar: Axes, scene: Scene):
        self.scene, self.ax, mel = scene, ax, scene.clip.log_mel
        ax.tick_params(labelbottom=False)
        self.image = ax.imshow(mel[:, :1], origin="lower", aspect="auto", cmap="gray_r", vmin=mel.min(), vmax=mel.max())
        ax.set(ylabel="mel bin", ylim=(-0.5, len(mel) - 0.5))
        ax.figure.colorbar(self.image, cax=bar, label="log-mel, normalised")
        self.edges = [
            [ax.axvline(0, *half, color=side.colour, linewidth=2.5) for _ in range(2)]
            for side, half in zip(scene.sides, HALVES, strict=True)
        ]
        start = ax.axvline(0, color="black", linestyle="--", linewidth=1)
        self.artists: list[Artist] = [self.image, start, *(line for lines in self.edges for line in lines)]

    def show(self, frame: int) -> None:
        """Move to a frame."""
        mel, start, hop = self.scene.clip.log_mel, 1000 * self.scene.start_s(frame), 1000 * MEL_HOP / SAMPLE_RATE
        reach = self.ax.get_xlim()[1]
        first = max(0, int((start - reach) / hop))
        seen = mel[:, first : max(0, int((start + reach) / hop) + 2)]
        self.image.set_visible(seen.size > 0)
        if seen.size:
            left = (first - 0.5) * hop - start
            self.image.set(data=seen, extent=(left, left + seen.shape[1] * hop, -0.5, len(mel) - 0.5))
        for lines, side in zip(self.edges, self.scene.sides, strict=True):
            window = side.window_s(frame)
            for line, edge in zip(lines, window or (0, 0), strict=True):
                line.set_xdata([1000 * edge - start] * 2)
                line.set_visible(window is not None)


class RowsPanel:
    """The numbers of the rows that each side takes, where they lie in time.

    Attributes
    ----------
    texts : list of list of Text
        For each side, what is written into its cells: a row's number, with ×n where it is taken n times.
    cells : list of PolyCollection
        For each side, a cell for each different row and each row of zeros.
    """

    def __init__(self, ax: Axes, scene: Scene):
        self.scene, self.ax, lanes = scene, ax, range(len(scene.sides))
        ax.set(ylim=(-0.5, 1.5), xlabel="time in ms from the start of the frame")
        ax.set_yticks(lanes, [side.role for side in scene.sides], fontweight="bold")
        for label, side in zip(ax.get_yticklabels(), scene.sides, strict=True):
            label.set_color(side.colour)
        ax.tick_params(axis="y", length=0)
        ax.axvline(0, color="black", linestyle="--", linewidth=1)
        self.cells = [ax.add_collection(PolyCollection([], linewidth=1)) for _ in lanes]
        middle = {"ha": "center", "va": "center", "parse_math": False}
        self.texts = [
            [ax.text(0, y, "", fontsize=7, rotation=90, **middle) for _ in range(scene.sides[y].profile.rows.shape[1])]
            for y in lanes
        ]
        self.notes = [ax.text(0, y, "", color=scene.sides[y].colour, va="center", parse_math=False) for y in lanes]
        texts = [text for line in self.texts for text in line]
        self.artists: list[Artist] = [*self.cells, *texts, *self.notes]

    def show(self, frame: int) -> None:
        """Move to a frame."""
        for lane in range(len(self.scene.sides)):
            self._show_side(lane, frame)

    def _show_side(self, lane: int, frame: int) -> None:
        side, start, reach = self.scene.sides[lane], 1000 * self.scene.start_s(frame), self.ax.get_xlim()[1]
        rows, numbered = side.rows(frame), 2 * reach <= NUMBERED_MS
        taken = {} if rows is None else Counter(zip(self.scene.places(lane, frame), rows, strict=True))
        at = [ROW_MS * place - start for place, _ in taken]
        self.cells[lane].set_verts([_cell(x, lane) for x in at])
        tint = 0.8 + 0.2 * np.array(to_rgb(side.colour))
        faces = ["white" if row == ZERO_ROW else REPEATED if n > 1 else tint for (_, row), n in taken.items()]
        self.cells[lane].set(facecolor=faces, edgecolor=side.colour)
        written = [f"{row} ×{n}" if n > 1 else str(row) for (_, row), n in taken.items()]
        for text in self.texts[lane]:
            text.set_visible(False)
        for text, (x, number) in zip(self.texts[lane], zip(at, written, strict=True), strict=False):
            text.set(x=x, text=number, visible=numbered and number != str(ZERO_ROW))
        self._show_note(lane, frame, at)

    def _show_note(self, lane: int, frame: int, at: list[float]) -> None:
        """Write beside the cells which rows they are where there is no room inside, or why there are none."""
        side, reach = self.scene.sides[lane], self.ax.get_xlim()[1]
        note, rows = self.notes[lane], side.rows(frame)
        if rows is None:
            note.set(x=-0.97 * reach, ha="left", text=side.placed(frame))
            return
        late, numbered = max(at) > reach / 2, 2 * reach <= NUMBERED_MS
        taken = np.unique(rows[rows != ZERO_ROW])
        text = "" if numbered or not len(taken) else f"rows {spans(taken)}"
        aside = reach / 40 + ROW_MS / 2
        note.set(x=min(at) - aside if late else max(at) + aside, ha="right" if late else "left", text=text)


def _amplitudes(ax: Axes, scene: Scene) -> None:
    """Give a panel of samples an axis that is the same for every frame."""
    peak = max(0.1, float(np.ceil(10 * np.abs(scene.clip.waveform).max(initial=0)) / 10))
    ax.set(ylim=(-peak, peak), ylabel="amplitude\n(full scale 1)")
    ax.set_yticks([-peak, 0, peak], [f"−{peak:g}", "0", f"{peak:g}"])


def _extremes(samples: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest sample in each of some columns: all that can be seen of a waveform."""
    if not len(samples):
        return np.zeros(0), np.zeros(0)
    starts = np.linspace(0, len(samples), min(columns, len(samples)), endpoint=False).astype(int)
    return np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return where runs of true values start and stop."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _cell(x: float, lane: int) -> list[tuple[float, float]]:
    left, right, low, high = x - ROW_MS / 2, x + ROW_MS / 2, lane - CELL, lane + CELL
    return [(left, low), (left, high), (right, high), (right, low)]
