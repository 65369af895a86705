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
from matplotlib.patches import Patch, Rectangle, StepPatch
from matplotlib.transforms import Affine2D, Transform
from PIL import Image

from musetools.check.findings import SILENT_DBFS
from musetools.lab.explore.measure import Scene
from musetools.lab.explore.panels import DIFFERS, FULL, PLAIN, REPEATED, START, ChunkPanels, MouthPanel, RowsPanel
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
FLAT_MS = 30.0  # lag up to this fills no more than its part of the strip
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
            self.axes = {
                name: self.figure.add_axes((left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT))
                for name, (left, top, width, height) in PLACES.items()
            }
            for draw in (self._header, self._clip, self._sound, self._mel, self._image):
                draw()
            self.rows = RowsPanel(self.axes["rows"], scene, self._shift)
            self.chunks = ChunkPanels([self.axes[name] for name in ("training", "inference", "difference")], scene)
            label = "standard deviations from\neach dimension's mean"
            bar = self.axes["bar of chunks"]
            self.figure.colorbar(self.chunks.images[0], cax=bar, label=label, ticks=[-FULL, 0, FULL])
            self.mouth = MouthPanel(self.axes["mouth"], self.axes["clip"], scene, self._shift)
            self._legend()
        self._moving = sorted(self.figure.findobj(Artist.get_animated), key=Artist.get_zorder)

    def png(self, frame: int) -> bytes:
        """Draw a frame, 0 … scene.n_frames - 1, as a PNG of 1000 × 610 pixels."""
        return self._encoded(frame, "png", compress_level=1)  # more would take longer than the drawing

    def jpeg(self, frame: int) -> bytes:
        """Draw a frame as `png` does, in half the bytes and with their faults: for one that is soon replaced."""
        return self._encoded(frame, "jpeg", quality=QUALITY)

    def places(self) -> dict[str, list[float] | float]:
        """Return where panels are, and their times: of the whole clip, around the frame drawn last, and its image.

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
        self._show(frame)
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

    def _show(self, frame: int) -> None:
        """Move header, cursors, spans and image to a frame."""
        scene, number = self.scene, self.scene.image_number(frame)
        self.title.set_text(f"Frame {frame} at {scene.start_s(frame):.3f} s: {scene.level(frame)}")
        self.title.set_bbox({"facecolor": SILENCE, "edgecolor": "none"} if scene.silent[frame] else None)
        for text, side in zip(self.coverage, scene.sides, strict=True):
            text.set_text(side.coverage(frame))
        for cursor in self.cursors:
            cursor.set_xdata([1000 * scene.start_s(frame)] * 2)
        for band, side in zip(self.bands, 2 * scene.sides, strict=True):
            first, stop = side.span_s(frame) or (0, 0)
            band.set(x=1000 * first, width=1000 * (stop - first), visible=stop > first)
        self.image.set_visible(number is not None)
        if number is not None:
            self.image.set_data(scene.clip.images[number])
        missing = "no image at this time" if scene.clip.images else "no image in this file"
        self.no_image.set_text(missing if number is None else "")

    # --- each panel: what is fixed, and, animated, what moves

    def _header(self) -> None:
        style = {"va": "top", "fontweight": "bold", **PLAIN}
        self.title = self.figure.text(0.015, 0.982, "", fontsize=14, animated=True, **style)
        self.coverage = []
        for side, y in zip(self.scene.sides, (0.99, 0.963), strict=True):
            style |= {"fontsize": 10, "color": side.colour}
            self.figure.text(0.745, y, f"{side.role}, {side.name}", ha="right", **style)
            self.coverage.append(self.figure.text(0.755, y, "", animated=True, **style))
        y = 1 - 436 / HEIGHT
        self.figure.text(74 / WIDTH, y, f"What the frame is conditioned on · weights: {self.scene.weights}", **PLAIN)

    def _clip(self) -> None:
        """Draw the whole clip, its silent stretches, and where the frame is; below it lag, and frames of other rows."""
        scene, ax, strip = self.scene, self.axes["clip"], self.axes["strip"]
        self._waveform(ax, ax.transData, ax.get_xaxis_transform())
        silent = f"{100 * scene.silent.mean():.0f} % of {scene.n_frames} frames silent"
        others = f"{scene.differs.sum()} take other rows on the two sides"
        own = f" (the clip is {float(scene.clip.fps):.6g})" if scene.rate_note else ""
        rate = f"{float(scene.fps):.6g} fps{own}"
        ax.set_title(f"{scene.clip.name}: {scene.clip.duration_s:.2f} s at {rate}, {silent}, {others}", **PLAIN)
        ax.set(xlim=(0, 1000 * max(scene.clip.duration_s, scene.start_s(scene.n_frames))), ylabel="")
        across = {"color": DIFFERS, "linewidth": 0, "transform": strip.get_xaxis_transform()}
        strip.stairs(scene.differs, scene.edges_ms, fill=True, **across)
        lags = [side.profile.lag_ms for side in scene.sides]
        for side, lag, style in zip(scene.sides, lags, ("-", "--"), strict=True):
            strip.plot(scene.edges_ms[side.profile.frames], lag, style, color=side.colour, linewidth=1.5)
        every = np.concatenate([(-FLAT_MS, FLAT_MS), *lags])
        low, high = np.nanmin(every), np.nanmax(every)
        room = 0.2 * (high - low)  # for the numbers of the axis, which else lie over those of the waveform's
        strip.set(xlim=ax.get_xlim(), ylim=(low - room, high + room), ylabel="lag in ms")
        strip.set_xlabel("time in s", loc="right", labelpad=1)
        strip.xaxis.set_major_formatter(lambda ms, _: f"{ms / 1000:g}")
        style = {"color": COLOURS["purple"], "linewidth": 2, "animated": True}
        self.cursors = [ax.axvline(0, **style), strip.axvline(0, **style)]

    def _waveform(self, ax: Axes, data: Transform, span: Transform, **style: object) -> StepPatch:
        """Draw the least and the greatest sample of each ms, and silence, on an axis for all frames."""
        scene, per_ms = self.scene, SAMPLE_RATE // 1000
        blocks = scene.clip.waveform[: len(scene.clip.waveform) // per_ms * per_ms].reshape(-1, per_ms)
        extremes = np.column_stack([blocks.min(axis=1), blocks.max(axis=1)]).ravel()
        times = np.repeat(np.arange(len(blocks)), 2)
        silence = ax.stairs(scene.silent, scene.edges_ms, fill=True, color=SILENCE, lw=0, transform=span, **style)
        ax.plot(times, extremes, color="0.3", linewidth=0.6, transform=data, **style)
        peak = max(0.1, float(np.ceil(10 * np.abs(extremes).max()) / 10))
        ax.set(ylim=(-peak, peak), ylabel="amplitude\n(full scale 1)")
        ax.set_yticks([-peak, 0, peak], [f"−{peak:g}", "0", f"{peak:g}"])
        ax.tick_params(labelbottom=False)
        return silence

    def _sound(self) -> None:
        """Draw the waveform around the frame, silence, and the stretch that each side's rows are centred on."""
        ax = self.axes["sound"]
        self.silence = self._waveform(
            ax, self._shift + ax.transData, self._shift + ax.get_xaxis_transform(), animated=True
        )
        ax.set_title("What the frame's chunk covers: training below, inference above")
        ax.plot(self.scene.edges_ms[:2], 2 * [ax.get_ylim()[1]], color="black", lw=5, solid_capstyle="butt")
        ax.axvline(0, **START)
        self.bands = [self._band(ax, i, fc=side.colour, alpha=0.35) for i, side in enumerate(self.scene.sides)]

    def _mel(self) -> None:
        """Draw the log-mel around the frame, and a box around what each side's chunk covers."""
        mel, ax, hop = self.scene.clip.log_mel, self.axes["mel"], 1000 * MEL_HOP / SAMPLE_RATE
        extent = (-hop / 2, (mel.shape[1] - 0.5) * hop, -0.5, len(mel) - 0.5)
        style = {"origin": "lower", "aspect": "auto", "cmap": "gray_r", "animated": True}
        image = ax.imshow(mel, extent=extent, transform=self._shift + ax.transData, **style)
        ax.tick_params(labelbottom=False)
        ax.set(ylabel="mel bin", ylim=(-0.5, len(mel) - 0.5))
        self.figure.colorbar(image, cax=self.axes["bar of mel"], label="log-mel, normalised")
        ax.axvline(0, animated=True, **START)
        style = {"fill": False, "lw": 2.5, "zorder": 2}
        self.bands += [self._band(ax, i, ec=side.colour, **style) for i, side in enumerate(self.scene.sides)]

    def _band(self, ax: Axes, half: int, **style: object) -> Rectangle:
        """Add a side's band: training's in the lower half of a panel, inference's in the upper."""
        span = self._shift + ax.get_xaxis_transform()
        return ax.add_patch(Rectangle((0, half / 2), 0, 0.5, transform=span, animated=True, **style))

    def _image(self) -> None:
        """Draw the image that is on screen when the frame starts."""
        ax, images = self.axes["image"], self.scene.clip.images
        ax.spines[:].set(visible=True, color="0.6")
        ax.set(xticks=[], yticks=[], facecolor="0.95", title="On screen")
        first = images[0] if images else np.full((1, 1, 3), 255, np.uint8)
        self.image = ax.imshow(first, interpolation="bilinear", animated=True)
        style = {"ha": "center", "va": "center", "color": "0.35", "animated": True}
        self.no_image = ax.text(0.5, 0.5, "", transform=ax.transAxes, **style)

    def _legend(self) -> None:
        keys = [
            *(Patch(facecolor=side.colour, alpha=0.5, label=side.role) for side in self.scene.sides),
            Patch(facecolor=REPEATED, edgecolor="0.4", label="row repeated"),
            Patch(facecolor="none", edgecolor="0.4", label="row of zeros"),
            Patch(facecolor=DIFFERS, label="other rows"),
            Patch(facecolor=SILENCE, label=f"silent: below {signed(SILENT_DBFS)} dBFS"),
            Line2D([], [], label="frame starts", **START),
            Line2D([], [], color="black", linewidth=5, label="frame"),
            *self.mouth.keys,
        ]
        self.figure.legend(handles=keys, loc="lower center", ncols=len(keys), handlelength=1.1, columnspacing=0.8)
