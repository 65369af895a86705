"""Panels without an axis of clip time in the picture of one frame: its title, its chunks, and the picture on screen."""

import textwrap

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musetools.lab.explore.panels import SILENCE
from musetools.lab.explore.scene import Scene
from musetools.lab.look import COLOURS

__all__ = ["FULL", "ChunkPanel", "Header", "MouthPanel", "PicturePanel"]

FULL = 3.0  # standard deviations at full colour


class Header:
    """Which frame it is, how loud, and what both sides' chunks cover."""

    def __init__(self, figure: Figure, scene: Scene):
        self.scene = scene
        style = {"va": "top", "fontweight": "bold", "parse_math": False}
        self.frame = figure.text(0.015, 0.982, "", fontsize=14, **style)
        self.sides = []
        for side, y in zip(scene.sides, (0.986, 0.962), strict=True):
            figure.text(0.745, y, f"{side.role}, {side.name}", fontsize=10, ha="right", color=side.colour, **style)
            self.sides.append(figure.text(0.755, y, "", fontsize=10, color=side.colour, **style))
        self.artists: list[Artist] = [self.frame, *self.sides]

    def show(self, frame: int) -> None:
        """Move to a frame."""
        scene = self.scene
        self.frame.set_text(f"Frame {frame} at {scene.start_s(frame):.3f} s: {scene.loud(frame)}")
        self.frame.set_bbox({"facecolor": SILENCE, "edgecolor": "none"} if scene.silent[frame] else None)
        for text, side in zip(self.sides, scene.sides, strict=True):
            text.set_text(side.placed(frame))


class ChunkPanel:
    """A side's chunk, or the difference of both, as an image: a line for each row and layer."""

    def __init__(self, ax: Axes, scene: Scene, side: int | None):
        self.scene, self.side = scene, side
        n_rows, (n_layers, width) = scene.sides[0].profile.rows.shape[1], scene.scale[0].shape
        self.image = ax.imshow(
            np.zeros((1, 1)), aspect="auto", extent=(0, width, n_rows * n_layers, 0), cmap="PuOr", vmin=-FULL, vmax=FULL
        )
        # rows of zeros are NaN, which no colour map draws: they show the panel's ground
        ax.set(xticks=[0, width], facecolor="0.9")
        ax.set_xlabel("dimension", labelpad=-8)
        ax.set_yticks(n_layers * np.arange(0, n_rows, 2), np.arange(0, n_rows, 2))
        ax.set_ylabel(f"row of the chunk,\n{n_layers} layers each" if side == 0 else "")
        colour = "black" if side is None else scene.sides[side].colour
        style = {"transform": ax.transAxes, "color": colour, "parse_math": False}
        said = "" if side is None else f"{scene.sides[side].role}'s chunk".capitalize()
        self.title = ax.text(0, 1.04, said, fontsize=10, fontweight="bold", **style)
        self.note = ax.text(0.5, 0.5, "", ha="center", va="center", **style)
        self.artists: list[Artist] = [self.image, self.note, *([self.title] if side is None else [])]

    def show(self, frame: int) -> None:
        """Move to a frame."""
        chunk = self.scene.difference(frame) if self.side is None else self.scene.chunk(self.side, frame)
        full = FULL if self.side is not None or chunk is None else float(np.abs(chunk).max())
        if self.side is None:
            size = "" if chunk is None else f" (±{full:.2g} std)" if full else ": none"
            self.title.set_text(f"Difference{size}")
        self.image.set_visible(chunk is not None)
        self.note.set_text("" if chunk is not None else self._missing(frame))
        if chunk is not None:
            self.image.set_data(chunk)
            self.image.set_clim(-full or -1, full or 1)

    def _missing(self, frame: int) -> str:
        if self.side is None:
            return "needs both chunks"
        side = self.scene.sides[self.side]
        return textwrap.fill(side.profile.stops, 31) or "no chunk for this frame"


class PicturePanel:
    """The picture that is on screen when the frame starts."""

    def __init__(self, ax: Axes, scene: Scene):
        self.scene = scene
        for spine in ax.spines.values():
            spine.set(visible=True, color="0.6")
        ax.set(xticks=[], yticks=[], facecolor="0.95")
        ax.set_title("On screen")
        first = scene.clip.pictures[0] if scene.clip.pictures else np.full((1, 1, 3), 255, np.uint8)
        self.picture = ax.imshow(first, interpolation="bilinear")
        self.note = ax.text(0.5, 0.5, "", ha="center", va="center", color="0.35", transform=ax.transAxes)
        self.artists: list[Artist] = [self.picture, self.note]

    def show(self, frame: int) -> None:
        """Move to a frame."""
        picture = self.scene.picture(frame)
        self.picture.set_visible(picture is not None)
        if picture is not None:
            self.picture.set_data(picture)
        missing = "no picture at this time" if self.scene.clip.pictures else "no picture in this file"
        self.note.set_text(missing if picture is None else "")


class MouthPanel:
    """How far the mouth is open around the frame, and in the picture on screen."""

    def __init__(self, ax: Axes, scene: Scene):
        self.scene, self.ax = scene, ax
        ax.set(ylim=(-0.05, 1.05), yticks=[0, 1], xlabel="time in ms from the start of the frame")
        ax.yaxis.tick_right()
        ax.set_yticks([0, 1], ["0 shut", "1 wide"])
        ax.set_visible(scene.clip.openings is not None)
        self.title = ax.text(0, 1.06, "", fontsize=10, fontweight="bold", transform=ax.transAxes)
        (self.line,) = ax.plot([], [], ".-", color=COLOURS["green"], linewidth=1, markersize=4)
        (self.point,) = ax.plot([], [], "o", color="black", markersize=7)
        self.artists: list[Artist] = [self.title, self.line, self.point] if ax.get_visible() else []

    def show(self, frame: int) -> None:
        """Move to a frame."""
        if self.scene.clip.openings is None:
            return
        (times, openings), start, opening = (
            self.scene.clip.openings,
            self.scene.start_s(frame),
            self.scene.opening(frame),
        )
        at = 1000 * (times - start)
        near = np.abs(at) < 2 * self.ax.get_xlim()[1]
        self.line.set_data(at[near], openings[near])
        self.point.set_data([1000 * (self.scene.seen_s(frame) - start)], [opening])
        self.title.set_text(f"Mouth: {opening:.2f} open")
