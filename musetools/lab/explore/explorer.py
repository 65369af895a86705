"""The explorer's widgets: they choose clip, recipes, frame rate and frame, and show what pure functions return."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from IPython.display import Audio

from musetools.errors import MusetoolsError
from musetools.features.encoder import Encoder, load_encoder
from musetools.lab.explore.clip import Clip, read_clip
from musetools.lab.explore.figures import FrameView
from musetools.lab.explore.measure import Scene, prepare
from musetools.lab.project import project_file
from musetools.recipes.recipe import RECIPES
from musetools.timing import SAMPLE_RATE

__all__ = ["Explorer", "player"]

MEDIA = "audio/*,video/*,.flac,.m4a,.mkv,.mp3,.mp4,.wav"
FASTEST_MS = 40  # between two frames when played


class Explorer(widgets.VBox):
    """Any frame of a clip under two recipes, to look at and to play.

    Show it in Jupyter as the last line of a cell. Its widgets are attributes: setting ``explorer.frame.value`` in code
    does what moving the slider does.

    Parameters
    ----------
    clips : iterable of path
        Media files to choose from; the first is shown. Found as by `musetools.lab.project.project_file`.
    train, infer : str
        Names of the recipes of the two sides.
    fps : float, default 25
        Video frames per second.
    context : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    encoder : Encoder, str or path, default "tiny.en"
        The weights.

    Attributes
    ----------
    scene : Scene
        What is shown.
    view : FrameView
        Draws it.
    clip, train, infer, fps, left, right, frame, play, upload : widgets
        What is chosen.
    image, sentences, error, chunk_audio, clip_audio : widgets
        What is shown: the figure, sentences, what went wrong, the sound of the frame, the sound of the clip.

    Raises
    ------
    MusetoolsError
        If what it is to start with cannot be shown. For what is chosen later, `error` shows the message instead.
    """

    def __init__(
        self,
        clips: Iterable[str | os.PathLike],
        train: str = "musetalk-v1.5-train",
        infer: str = "musetalk-v1.5-infer",
        *,
        fps: float = 25.0,
        context: tuple[int, int] = (2, 2),
        encoder: str | os.PathLike | Encoder = "tiny.en",
    ):
        self._encoder = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
        paths = [project_file(path) for path in clips]
        self._make_controls(paths, train, infer, fps, context)
        self.image = widgets.Image(format="png", layout=widgets.Layout(width="1000px", max_width="100%"))
        self.sentences, self.error, self.chunk_audio, self.clip_audio = (widgets.HTML() for _ in range(4))
        self.scene: Scene | None = None
        self._show(read_clip(paths[0]))
        self._wire()
        first, sound = [self.clip, self.upload, self.fps, self.left, self.right], [self.chunk_audio, self.clip_audio]
        rows = (first, [self.train, self.infer], [self.play, self.frame], sound)
        *chosen, sound = (widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap")) for row in rows)
        super().__init__([*chosen, self.error, self.image, sound, self.sentences])

    def _make_controls(self, paths: list[Path], train: str, infer: str, fps: float, context: tuple[int, int]) -> None:
        recipes = list(dict.fromkeys([*RECIPES, train, infer]))
        style, narrow = {"description_width": "initial"}, widgets.Layout(width="150px")
        self.clip = widgets.Dropdown(options=[(path.name, path) for path in paths], description="clip", style=style)
        self.upload = widgets.FileUpload(accept=MEDIA, description="upload a clip")
        self.train = widgets.Dropdown(options=recipes, value=train, description="training", style=style)
        self.infer = widgets.Dropdown(options=recipes, value=infer, description="inference", style=style)
        self.fps = widgets.FloatText(value=fps, description="fps", style=style, layout=narrow)
        self.left, self.right = (
            widgets.BoundedIntText(value=n, min=0, max=20, description=f"context {side}", style=style, layout=narrow)
            for n, side in zip(context, ("left", "right"), strict=True)
        )
        self.frame = widgets.IntSlider(min=0, max=0, description="frame", layout=widgets.Layout(width="780px"))
        self.play = widgets.Play(min=0, max=0)

    def _wire(self) -> None:
        widgets.link((self.play, "value"), (self.frame, "value"))
        self.frame.observe(lambda _: self._draw(), "value")
        self.clip.observe(lambda _: self._attempt(self._choose_clip), "value")
        self.upload.observe(lambda _: self._attempt(self._take_upload), "value")
        for control in (self.train, self.infer, self.fps, self.left, self.right):
            control.observe(lambda _: self._attempt(lambda: self._show(self.scene.clip)), "value")

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do what was asked for, or show why not; then what was shown stays."""
        self.error.value = "<i>Making features …</i>"
        try:
            action()
            self.error.value = ""
        except MusetoolsError as error:
            still = f"Still shown: {self.scene.clip.name} at {float(self.scene.fps):.5g} fps."
            self.error.value = f'<b style="color: #B00020">{escape(str(error))}.</b> {escape(still)}'

    def _choose_clip(self) -> None:
        if self.clip.value != self.scene.clip.path:
            try:
                self._show(read_clip(self.clip.value))
            except MusetoolsError:
                self.clip.value = self.scene.clip.path
                raise

    def _take_upload(self) -> None:
        """Write what was uploaded to a file, since decoders read files, and show it."""
        for sent in self.upload.value:
            folder = Path(tempfile.mkdtemp(prefix="musetools-upload-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = folder / (Path(sent["name"]).name or "clip")
            path.write_bytes(sent["content"])
            self._show(read_clip(path))
            self.clip.options = (*self.clip.options, (f"{path.name} (uploaded)", path))
            self.clip.value = path

    def _show(self, clip: Clip) -> None:
        """Show a clip under what is chosen, at the same time as before."""
        time_s = self.scene.start_s(self.frame.value) if self.scene else 0.0
        context, recipes = (self.left.value, self.right.value), (self.train.value, self.infer.value)
        scene = prepare(clip, *recipes, fps=self.fps.value, context=context, encoder=self._encoder)
        view = FrameView(scene)  # before anything is changed
        self.scene, self.view = scene, view
        for control in (self.frame, self.play):
            control.max = scene.n_frames - 1
        self.play.interval = max(FASTEST_MS, round(1000 / scene.fps))
        self.frame.value = scene.frame_at(time_s)
        self._draw()
        self.clip_audio.value = player(f"The clip, {clip.name}", clip.waveform)

    def _draw(self) -> None:
        scene, frame = self.scene, self.frame.value
        self.image.value = self.view.png(frame)
        self.chunk_audio.value = "".join(
            player(f"What {side.role}'s chunk of frame {frame} covers", scene.sound(i, frame))
            for i, side in enumerate(scene.sides)
        )
        self.sentences.value = f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in scene.sentences(frame))}</ul>"


def player(title: str, samples: np.ndarray) -> str:
    """Return HTML that plays samples as loud as they are, under a title that gives their true length.

    Parameters
    ----------
    title : str
        What is played.
    samples : ndarray of float32, shape (n,)
        At 16 kHz, within -1 and 1.

    Returns
    -------
    str
    """
    text, seconds = f"{escape(title)}: no sound there", len(samples) / SAMPLE_RATE
    if len(samples):
        length = f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
        # normalising, Audio's default, would make silence as loud as speech
        sound = Audio(samples, rate=SAMPLE_RATE, normalize=False)._repr_html_()
        text = f"{escape(title)}: {length}<br>{sound}"
    return f'<div style="display: inline-block; margin-right: 1em">{text}</div>'
