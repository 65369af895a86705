"""One frame of a scene as a figure: what is fixed is drawn once, so that the next frame takes little time.

All that has a time is drawn at its time in the clip, in ms; one transform moves it to the time from the frame's start.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import Affine2D, Transform
from PIL import Image

from musetools.check.findings import SILENT_DBFS
from musetools.lab.explore.measure import Scene
from musetools.lab.explore.panels import DIFFERS, FULL, PLAIN, REPEATED, ChunkPanels, MouthPanel, RowsPanel, draw_strip
from musetools.lab.look import COLOURS, STYLE
from musetools.table import signed
from musetools.timing import MEL_HOP, SAMPLE_RATE

__all__ = ["FrameView"]

WIDTH, HEIGHT, DPI = 1000, 610, 100  # pixels, as it is shown: with its widgets on one screen
PLACES = {  # left, top, width and height of each panel, in pixels
    "clip": (74, 64, 912, 34),
    "strip": (74, 102, 912, 56),
    "sound": (74, 204, 564, 54),
    "mel": (74, 264, 564, 64),
    "bar of mel": (644, 264, 8, 64),
    "rows": (74, 334, 564, 56),
    "image": (716, 204, 186, 186),
    "mouth": (909, 224, 52, 130),
    "training": (74, 462, 238, 84),
    "inference": (352, 462, 238, 84),
    "bar of chunks": (598, 462, 8, 84),
    "difference": (744, 462, 242, 84),
}
TIMED = ("sound", "mel", "rows", "mouth")  # panels on one axis of time
NEAR_MS = 400  # seen either side of a frame; twice as much, or four times … where a side's chunk lies farther off
QUALITY = 80  # of a JPEG, for images that follow each other fast
SILENCE = "#DADADA"
STYLE_OF_VIEW = STYLE | {"font.size": 8, "axes.titlesize": 9, "figure.constrained_layout.use": False}


class FrameView:
    """Draws any frame of a scene: the clip, what both chunks cover, their rows and values, the image on screen.

    Parameters
    ----------
    scene : Scene
        What `prepare` returns.
    near_ms : float, default 400
        How much is seen either side of a frame, unless a chunk lies farther off.

    Attributes
    ----------
    figure : Figure
        As it was drawn last.
    axes : dict of str to Axes
        Its panels.
    """

    def __init__(self, scene: Scene, near_ms: float = NEAR_MS):
        self.scene, self.near_ms, self._still, self._shift = scene, near_ms, None, Affine2D()
        with plt.rc_context(STYLE_OF_VIEW):
            self.figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
            self.canvas = FigureCanvasAgg(self.figure)
            self.axes = {name: self.figure.add_axes(_place(*place)) for name, place in PLACES.items()}
            self.rows = RowsPanel(self.axes["rows"], scene, self._shift)
            self.chunks = ChunkPanels([self.axes[name] for name in ("training", "inference", "difference")], scene)
            label = "standard deviations from\neach dimension's mean"
            bar = self.axes["bar of chunks"]
            self.figure.colorbar(self.chunks.images[0], cax=bar, label=label, ticks=[-FULL, 0, FULL])
            parts = (self._header, self._clip, self._sound, self._mel, self._image)
            self._moving: list[Artist] = [artist for part in parts for artist in part()]
            self.mouth = MouthPanel(self.axes["mouth"], self.axes["clip"], scene, self._shift)
            self._moving += [*self.rows.artists, *self.chunks.artists, *self.mouth.artists]
            self._legend()
        for artist in self._moving:
            artist.set_animated(True)
        for name in TIMED:
            self.axes[name].set_xlim(-self.near_ms, self.near_ms)

    def png(self, frame: int) -> bytes:
        """Draw a frame, 0 … scene.n_frames - 1, as a PNG of 1000 × 610 pixels."""
        return self._encoded(frame, "png", compress_level=1)  # more would take longer than the drawing

    def jpeg(self, frame: int) -> bytes:
        """Draw a frame as `png` does, in half the bytes and with their faults: for one that is soon replaced."""
        return self._encoded(frame, "jpeg", quality=QUALITY)

    def places(self) -> dict[str, list[float] | float]:
        """Return where the panels of the whole clip, those around the frame, and the image are, and their times.

        Boxes are left, top, width and height as shares of the figure; `end_s` is where the clip ends, `reach_s` how far
        the panels around the frame reach on either side.
        """

        def box(first: str, last: str) -> list[float]:
            (left, top, width, _), (_, below, _, height) = PLACES[first], PLACES[last]
            return [left / WIDTH, top / HEIGHT, width / WIDTH, (below + height - top) / HEIGHT]

        boxes = {"whole": box("clip", "strip"), "near": box("sound", "rows"), "image": box("image", "image")}
        end_s, reach_s = (float(self.axes[name].get_xlim()[1]) / 1000 for name in ("clip", "rows"))
        return boxes | {"end_s": end_s, "reach_s": reach_s}

    def _encoded(self, frame: int, kind: str, **options: int) -> bytes:
        self._reach(frame)
        self._shift.clear().translate(-1000 * self.scene.start_s(frame), 0)
        self._show_header(frame)
        self._show_spans(frame)
        self._show_image(frame)
        for panel in (self.rows, self.chunks, self.mouth):
            panel.show(frame)
        if self._still is None:
            self.canvas.draw()
            self._still = self.canvas.copy_from_bbox(self.figure.bbox)
        self.canvas.restore_region(self._still)
        for artist in self._moving:
            (artist.axes or self.figure).draw_artist(artist)
        file = io.BytesIO()
        pixels = Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")
        pixels.save(file, kind, **options)
        return file.getvalue()

    def _reach(self, frame: int) -> None:
        """Let the axis of time reach as far as either side's chunk; only then what is fixed is drawn again."""
        edges = [edge for side in self.scene.sides for edge in side.span_s(frame) or ()]
        farthest = 1000 * max((abs(edge - self.scene.start_s(frame)) for edge in edges), default=0)
        reach = self.near_ms
        while reach < farthest:
            reach *= 2
        if reach != self.axes["rows"].get_xlim()[1]:
            for name in TIMED:
                self.axes[name].set_xlim(-reach, reach)
            self._still = None

    # --- each panel: what is fixed, and the artists that move

    def _header(self) -> list[Artist]:
        style = {"va": "top", "fontweight": "bold", **PLAIN}
        self.title = self.figure.text(0.015, 0.982, "", fontsize=14, **style)
        self.coverage = []
        for side, y in zip(self.scene.sides, (0.99, 0.963), strict=True):
            style |= {"fontsize": 10, "color": side.colour}
            self.figure.text(0.745, y, f"{side.role}, {side.name}", ha="right", **style)
            self.coverage.append(self.figure.text(0.755, y, "", **style))
        y = 1 - 436 / HEIGHT
        self.figure.text(74 / WIDTH, y, f"What the frame is conditioned on · weights: {self.scene.weights}", **PLAIN)
        return [self.title, *self.coverage]

    def _show_header(self, frame: int) -> None:
        scene = self.scene
        self.title.set_text(f"Frame {frame} at {scene.start_s(frame):.3f} s: {scene.level(frame)}")
        self.title.set_bbox({"facecolor": SILENCE, "edgecolor": "none"} if scene.silent[frame] else None)
        for text, side in zip(self.coverage, scene.sides, strict=True):
            text.set_text(side.coverage(frame))
        for cursor in self.cursors:
            cursor.set_xdata([1000 * scene.start_s(frame)] * 2)

    def _clip(self) -> list[Artist]:
        """Draw the whole clip, its silent stretches, lag and what differs, and where the frame is."""
        scene, ax, own = self.scene, self.axes["clip"], self.scene.clip.fps
        end_ms = 1000 * max(scene.clip.duration_s, scene.start_s(scene.n_frames))
        self._waveform(ax, ax.transData, ax.get_xaxis_transform())
        silent = f"{100 * scene.silent.mean():.0f} % of {scene.n_frames} frames silent"
        others = f"{scene.differs.sum()} take other rows on the two sides"
        rate = f"{float(scene.fps):.6g} fps" + (f" (the clip is {float(own):.6g})" if scene.rate_note else "")
        title = f"{scene.clip.name}: {scene.clip.duration_s:.2f} s at {rate}, {silent}, {others}"
        ax.set_title(title, **PLAIN)
        ax.set(xlim=(0, end_ms), ylabel="")
        ax.tick_params(labelbottom=False)
        draw_strip(self.axes["strip"], scene, ax.get_xlim())
        self.cursors = [self.axes[name].axvline(0, color=COLOURS["purple"], linewidth=2) for name in ("clip", "strip")]
        return self.cursors

    def _waveform(self, ax: Axes, data: Transform, span: Transform) -> list[Artist]:
        """Draw the least and the greatest sample of each ms, and silence, on an axis for all frames."""
        scene, per_ms = self.scene, SAMPLE_RATE // 1000
        blocks = scene.clip.waveform[: len(scene.clip.waveform) // per_ms * per_ms].reshape(-1, per_ms)
        extremes = np.column_stack([blocks.min(axis=1), blocks.max(axis=1)]).ravel()
        edges_ms = 1000 * np.arange(scene.n_frames + 1) / float(scene.fps)
        silence = ax.stairs(scene.silent, edges_ms, fill=True, color=SILENCE, linewidth=0, transform=span)
        (line,) = ax.plot(np.repeat(np.arange(len(blocks)), 2), extremes, color="0.3", linewidth=0.6, transform=data)
        peak = max(0.1, float(np.ceil(10 * np.abs(extremes).max()) / 10))
        ax.set(ylim=(-peak, peak), ylabel="amplitude\n(full scale 1)")
        ax.set_yticks([-peak, 0, peak], [f"−{peak:g}", "0", f"{peak:g}"])
        return [silence, line]

    def _sound(self) -> list[Artist]:
        """Draw the waveform around the frame, silence, and the stretch that each side's rows are centred on."""
        scene, ax = self.scene, self.axes["sound"]
        span = self._shift + ax.get_xaxis_transform()
        self.silence, line = self._waveform(ax, self._shift + ax.transData, span)
        ax.tick_params(labelbottom=False)
        ax.set_title("What the frame's chunk covers: training below, inference above")
        ax.plot([0, 1000 / float(scene.fps)], [ax.get_ylim()[1]] * 2, color="black", linewidth=5, solid_capstyle="butt")
        ax.axvline(0, color="black", linestyle="--", linewidth=1)
        self.bands = [_band(ax, span, half, fc=side.colour, alpha=0.35) for half, side in enumerate(scene.sides)]
        return [self.silence, *self.bands, line]

    def _mel(self) -> list[Artist]:
        """Draw the log-mel around the frame, and a box around what each side's chunk covers."""
        mel, ax, hop = self.scene.clip.log_mel, self.axes["mel"], 1000 * MEL_HOP / SAMPLE_RATE
        extent = (-hop / 2, (mel.shape[1] - 0.5) * hop, -0.5, len(mel) - 0.5)
        style = {"origin": "lower", "aspect": "auto", "cmap": "gray_r"}
        image = ax.imshow(mel, extent=extent, transform=self._shift + ax.transData, **style)
        ax.tick_params(labelbottom=False)
        ax.set(ylabel="mel bin", ylim=(-0.5, len(mel) - 0.5))
        self.figure.colorbar(image, cax=self.axes["bar of mel"], label="log-mel, normalised")
        span = self._shift + ax.get_xaxis_transform()
        frames = [_band(ax, span, i, fill=False, ec=side.colour, lw=2.5) for i, side in enumerate(self.scene.sides)]
        self.bands += frames
        return [image, ax.axvline(0, color="black", linestyle="--", linewidth=1), *frames]

    def _show_spans(self, frame: int) -> None:
        for band, side in zip(self.bands, 2 * self.scene.sides, strict=True):
            first, stop = side.span_s(frame) or (0, 0)
            band.set(x=1000 * first, width=1000 * (stop - first), visible=stop > first)

    def _image(self) -> list[Artist]:
        """Draw the image that is on screen when the frame starts."""
        ax, images = self.axes["image"], self.scene.clip.images
        ax.spines[:].set(visible=True, color="0.6")
        ax.set(xticks=[], yticks=[], facecolor="0.95")
        ax.set_title("On screen")
        self.image = ax.imshow(images[0] if images else np.full((1, 1, 3), 255, np.uint8), interpolation="bilinear")
        self.no_image = ax.text(0.5, 0.5, "", ha="center", va="center", color="0.35", transform=ax.transAxes)
        return [self.image, self.no_image]

    def _show_image(self, frame: int) -> None:
        scene, number = self.scene, self.scene.image_number(frame)
        self.image.set_visible(number is not None)
        if number is not None:
            self.image.set_data(scene.clip.images[number])
        missing = "no image at this time" if scene.clip.images else "no image in this file"
        self.no_image.set_text(missing if number is None else "")

    def _legend(self) -> None:
        training, inference = self.scene.sides
        keys = [
            Patch(facecolor=training.colour, alpha=0.5, label="training"),
            Patch(facecolor=inference.colour, alpha=0.5, label="inference"),
            Patch(facecolor=REPEATED, edgecolor="0.4", label="row repeated"),
            Patch(facecolor="none", edgecolor="0.4", label="row of zeros"),
            Patch(facecolor=DIFFERS, label="other rows"),
            Patch(facecolor=SILENCE, label=f"silent: below {signed(SILENT_DBFS)} dBFS"),
            Line2D([], [], color="black", linestyle="--", linewidth=1, label="frame starts"),
            Line2D([], [], color="black", linewidth=5, label="frame"),
        ]
        keys += self.mouth.keys
        self.figure.legend(handles=keys, loc="lower center", ncols=len(keys), handlelength=1.1, columnspacing=0.8)


def _place(left: int, top: int, width: int, height: int) -> tuple[float, float, float, float]:
    return left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT


def _band(ax: Axes, span: Transform, half: int, **style: object) -> Rectangle:
    """Add a side's band: training's in the lower half of a panel, inference's in the upper."""
    return ax.add_patch(Rectangle((0, half / 2), 0, 0.5, transform=span, **style))
