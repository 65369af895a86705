"""One frame of a scene as a picture: what is fixed is drawn once, so that the next frame takes little time."""

import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

from musetools.check.findings import SILENT_DBFS
from musetools.lab.explore.content import FULL, ChunkPanel, Header, MouthPanel, PicturePanel
from musetools.lab.explore.panels import REPEATED, SILENCE, ClipPanel, MelPanel, RowsPanel, SoundPanel
from musetools.lab.explore.scene import Scene
from musetools.lab.look import STYLE
from musetools.table import signed

__all__ = ["FrameView"]

WIDTH, HEIGHT, DPI = 1000, 860, 100  # pixels, as it is shown
PLACES = {  # left, top, width and height of each panel, in pixels
    "clip": (92, 86, 892, 58),
    "sound": (92, 214, 546, 104),
    "mel": (92, 328, 546, 124),
    "bar of mel": (646, 328, 9, 124),
    "rows": (92, 462, 546, 92),
    "picture": (748, 214, 214, 214),
    "mouth": (748, 466, 186, 88),
    "training": (92, 644, 226, 150),
    "inference": (356, 644, 226, 150),
    "bar of chunks": (592, 644, 9, 150),
    "difference": (748, 644, 236, 150),
}
TIMED = ("sound", "mel", "rows", "mouth")  # panels on one axis of time
NEAR_MS = 400  # seen either side of a frame; twice as much, or four times … where a side's chunk lies farther off


class FrameView:
    """Draws any frame of a scene: the clip, what both chunks cover, their rows and values, the picture on screen.

    Parameters
    ----------
    scene : Scene
        What `musetools.lab.explore.scene.prepare` returns.

    Attributes
    ----------
    figure : Figure
        As it was drawn last.
    """

    def __init__(self, scene: Scene):
        self.scene, self._still = scene, None
        with plt.rc_context(STYLE | {"font.size": 9, "axes.titlesize": 10, "figure.constrained_layout.use": False}):
            self.figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
            self.canvas = FigureCanvasAgg(self.figure)
            self.axes = {name: self._axes(*place) for name, place in PLACES.items()}
            self._panels()
            self._legend()
        for panel in self.panels:
            for artist in panel.artists:
                artist.set_animated(True)

    def _axes(self, left: int, top: int, width: int, height: int) -> Axes:
        return self.figure.add_axes((left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT))

    def _panels(self) -> None:
        axes, scene = self.axes, self.scene
        self.rows = RowsPanel(axes["rows"], scene)
        self.sound, self.mel = SoundPanel(axes["sound"], scene), MelPanel(axes["mel"], axes["bar of mel"], scene)
        self.chunks = [ChunkPanel(axes[name], scene, i) for i, name in enumerate(("training", "inference"))]
        self.difference = ChunkPanel(axes["difference"], scene, None)
        self.picture, self.mouth = PicturePanel(axes["picture"], scene), MouthPanel(axes["mouth"], scene)
        self.header, self.clip = Header(self.figure, scene), ClipPanel(axes["clip"], scene)
        timed = (self.sound, self.mel, self.rows, self.mouth)
        self.panels = (self.header, self.clip, *timed, self.picture, *self.chunks, self.difference)
        for name in TIMED:
            axes[name].set_xlim(-NEAR_MS, NEAR_MS)
        bar = self.figure.colorbar(self.chunks[0].image, cax=axes["bar of chunks"], ticks=[-FULL, 0, FULL])
        bar.set_label("standard deviations from\neach dimension's mean")
        self.figure.text(
            92 / WIDTH,
            1 - 618 / HEIGHT,
            f"What the frame is conditioned on · weights: {scene.weights}",
            parse_math=False,
        )

    def _legend(self) -> None:
        a, b = self.scene.sides
        keys = [
            Patch(facecolor=a.colour, alpha=0.5, label="training's chunk"),
            Patch(facecolor=b.colour, alpha=0.5, label="inference's chunk"),
            Patch(facecolor=REPEATED, edgecolor="0.4", label="row taken n times"),
            Patch(facecolor="none", edgecolor="0.4", label="row of zeros"),
            Patch(facecolor=SILENCE, label=f"silent: below {signed(SILENT_DBFS)} dBFS"),
            Line2D([], [], color="black", linestyle="--", linewidth=1, label="frame starts"),
            Line2D([], [], color="black", linewidth=5, label="frame"),
        ]
        self.figure.legend(handles=keys, loc="lower center", ncols=len(keys), handlelength=1.2, columnspacing=1.3)

    def png(self, frame: int) -> bytes:
        """Draw a frame.

        Parameters
        ----------
        frame : int
            Its number, 0 … scene.n_frames - 1.

        Returns
        -------
        bytes
            A PNG of 1000 × 860 pixels.
        """
        self._reach(frame)
        for panel in self.panels:
            panel.show(frame)
        if self._still is None:
            self.canvas.draw()
            self._still = self.canvas.copy_from_bbox(self.figure.bbox)
        self.canvas.restore_region(self._still)
        for panel in self.panels:
            for artist in panel.artists:
                (artist.axes or self.figure).draw_artist(artist)
        return _encoded(np.asarray(self.canvas.buffer_rgba())[..., :3])

    def _reach(self, frame: int) -> None:
        """Let the axis of time reach as far as either side's chunk; only then what is fixed is drawn again."""
        start = self.scene.start_s(frame)
        windows = [side.window_s(frame) for side in self.scene.sides]
        farthest = 1000 * max((abs(edge - start) for window in windows if window for edge in window), default=0)
        reach = NEAR_MS
        while reach < farthest:
            reach *= 2
        if reach != self.axes["rows"].get_xlim()[1]:
            for name in TIMED:
                self.axes[name].set_xlim(-reach, reach)
            self._still = None


def _encoded(pixels: np.ndarray) -> bytes:
    """Write pixels, (height, width, 3), as a PNG; a stronger compression would take longer than the drawing."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "png", compress_level=1)
    return file.getvalue()
