"""Panels of a frame's figure: the numbers of its rows in time, their values, and the mouth."""

import textwrap
from collections import Counter
from itertools import zip_longest

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import LinearLocator
from matplotlib.transforms import Affine2D

from musetools.chunks.rows import ZERO_ROW
from musetools.lab.explore.measure import Scene
from musetools.lab.look import COLOURS
from musetools.table import spans
from musetools.timing import ROW_MS

__all__ = ["DIFFERS", "FULL", "PLAIN", "REPEATED", "START", "ChunkPanels", "MouthPanel", "RowsPanel"]

REPEATED = COLOURS["yellow"]
DIFFERS = "#F8F1A0"  # the same yellow, pale
NUMBERED_MS = 500  # up to this reach there is room for the number of every row
CELL = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * (ROW_MS / 2, 0.38)  # corners around a row's place
FULL = 3.0  # standard deviations at full colour
SEEN = {"color": COLOURS["green"], "linewidth": 1.2}
EXPECTED = {"color": "black", "linewidth": 0.9, "linestyle": (0, (2, 1)), "zorder": 2.1}  # over what is seen
START = {"color": "black", "linestyle": "--", "linewidth": 1}  # a line where the frame starts
PLAIN = {"parse_math": False}  # a name with dollars is no formula


class RowsPanel:
    """The numbers of the rows that each side takes, where they lie in time."""

    def __init__(self, ax: Axes, scene: Scene, shift: Affine2D):
        self.scene, self.ax, moved = scene, ax, shift + ax.transData
        ax.set(ylim=(-0.5, 1.5), xlabel="time in ms from the start of the frame")
        ax.set_yticks(range(2), [side.role for side in scene.sides], fontweight="bold")
        ax.tick_params(axis="y", length=0)
        ax.axvline(0, **START)
        style = {"va": "center", "transform": moved, "animated": True, **PLAIN}
        small = {"fontsize": 7, "rotation": 90, "ha": "center"}
        self.cells, self.numbers, self.notes = [], [], []
        for lane, (side, label) in enumerate(zip(scene.sides, ax.get_yticklabels(), strict=True)):
            label.set_color(side.colour)
            cells = PolyCollection([], linewidth=1, edgecolor=side.colour, transform=moved, animated=True)
            self.cells.append(ax.add_collection(cells, autolim=False))
            self.numbers.append([ax.text(0, lane, "", **small, **style) for _ in range(side.profile.rows.shape[1])])
            self.notes.append(ax.text(0, lane, "", color=side.colour, **style))

    def show(self, frame: int) -> None:
        """Move to a frame."""
        for lane, side in enumerate(self.scene.sides):
            rows = side.rows(frame)
            taken = {} if rows is None else Counter(zip(self.scene.places(lane, frame), rows, strict=True))
            at = [ROW_MS * place for place, _ in taken]
            tint = 0.8 + 0.2 * np.array(to_rgb(side.colour))
            faces = ["white" if row == ZERO_ROW else REPEATED if n > 1 else tint for (_, row), n in taken.items()]
            self.cells[lane].set(verts=[np.add(CELL, (x, lane)) for x in at], facecolor=faces)
            numbers = ["" if row == ZERO_ROW else f"{row} ×{n}" if n > 1 else str(row) for (_, row), n in taken.items()]
            for text, x, number in zip_longest(self.numbers[lane], at, numbers, fillvalue=0):
                text.set(x=x, text=number, visible=bool(number) and self.ax.get_xlim()[1] <= NUMBERED_MS)
            self._show_note(lane, frame, at)

    def _show_note(self, lane: int, frame: int, at: list[float]) -> None:
        """Write beside the cells which rows they are where there is no room inside, or why there are none."""
        side, note = self.scene.sides[lane], self.notes[lane]
        start, reach, rows = 1000 * self.scene.start_s(frame), self.ax.get_xlim()[1], side.rows(frame)
        if rows is None:
            note.set(x=start - 0.97 * reach, ha="left", text=side.coverage(frame))
            return
        taken = np.unique(rows[rows != ZERO_ROW])
        late, aside = max(at) - start > reach / 2, reach / 40 + ROW_MS / 2
        note.set(x=min(at) - aside if late else max(at) + aside, ha="right" if late else "left")
        note.set_text(f"rows {spans(taken)}" if reach > NUMBERED_MS and len(taken) else "")


class ChunkPanels:
    """Both sides' chunks and their difference as images: a line for each row and layer."""

    def __init__(self, axes: list[Axes], scene: Scene):
        self.scene = scene
        n_rows, (n_layers, width) = scene.sides[0].profile.rows.shape[1], scene.scale[0].shape
        self.images, self.notes, self.titles = [], [], []
        titles = [*((f"{side.role.capitalize()}'s chunk", side.colour) for side in scene.sides), ("", "black")]
        for ax, (title, colour) in zip(axes, titles, strict=True):
            style = {"aspect": "auto", "cmap": "PuOr", "vmin": -FULL, "vmax": FULL, "animated": True}
            self.images.append(ax.imshow(np.zeros((1, 1)), extent=(0, width, n_rows * n_layers, 0), **style))
            ax.set(xticks=[0, width], facecolor="0.9")  # seen where rows of zeros are NaN, which is not drawn
            ax.set_xlabel("dimension", labelpad=-7)
            numbered = np.arange(0, n_rows, -(-n_rows // 5))  # there is room for five
            ax.set_yticks(n_layers * numbered, numbered)
            style = {"transform": ax.transAxes, "color": colour, "animated": True, **PLAIN}
            self.notes.append(ax.text(0.5, 0.5, "", ha="center", va="center", **style))
            self.titles.append(ax.text(0, 1.06, title, fontsize=9, fontweight="bold", **style))
        axes[0].set_ylabel(f"row of the chunk,\n{n_layers} layers each")

    def show(self, frame: int) -> None:
        """Move to a frame."""
        gap = self.scene.difference(frame)
        chunks = [self.scene.chunk(0, frame), self.scene.chunk(1, frame), gap]
        missing = [textwrap.fill(side.profile.stops, 31) or "no chunk for this frame" for side in self.scene.sides]
        for i, (chunk, why) in enumerate(zip(chunks, [*missing, "needs both chunks"], strict=True)):
            self.images[i].set_visible(chunk is not None)
            self.notes[i].set_text(why if chunk is None else "")
            if chunk is not None:
                self.images[i].set_data(chunk)
        sizes = np.zeros(1) if gap is None else np.abs(gap)
        full = float(np.percentile(sizes, 99) or sizes.max())  # few values are so large that no other would be seen
        self.images[2].set_clim(-full or -1, full or 1)
        size = f" (colours to ±{full:.2g} std)" if full else "" if gap is None else ": none"
        self.titles[2].set_text(f"Difference{size}")


class MouthPanel:
    """How far the mouth is open, seen and expected from sound: around the frame, and over the whole clip."""

    def __init__(self, ax: Axes, whole: Axes, scene: Scene, shift: Affine2D):
        self.scene, moved, self.keys = scene, {"transform": shift + ax.transData, "animated": True}, []
        ax.set(ylim=(-0.05, 1.05), xlabel="s", visible=scene.clip.openings is not None)
        ax.yaxis.tick_right()
        ax.xaxis.set_major_locator(LinearLocator(3))
        ax.xaxis.set_major_formatter(lambda ms, _: f"{ms / 1000:g}" if ms >= 0 else "")  # the image covers what is left
        ax.set_yticks([0, 1], ["shut", "wide"])
        if scene.clip.openings is None:
            return
        series = (scene.expected, "mouth expected", EXPECTED), (scene.clip.openings, "mouth", SEEN)
        for (seconds, opening), label, style in series:
            whole.plot(1000 * seconds, whole.get_ylim()[1] * opening, **style)
            ax.plot(1000 * seconds, opening, **style, **moved)
            self.keys.append(Line2D([], [], label=label, **style))
        self.text = ax.text(-0.1, 1.06, "", fontsize=9, fontweight="bold", transform=ax.transAxes, animated=True)
        (self.point,) = ax.plot([], [], "o", color="black", markersize=7, **moved)

    def show(self, frame: int) -> None:
        """Move to a frame."""
        if (opening := self.scene.opening(frame)) is not None:
            self.point.set_data([1000 * self.scene.seen_s(frame)], [opening])
            self.text.set_text(f"Mouth {opening:.2f}")
