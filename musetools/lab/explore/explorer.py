"""The explorer's widgets: they choose clip, recipes, frame rate and frame, and show what pure functions return."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from html import escape
from pathlib import Path

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets
from IPython.display import Audio

from musetools import RECIPES, Encoder, MusetoolsError, ParameterError
from musetools.chunks.rows import checked_context
from musetools.features.encoder import as_encoder
from musetools.files import MEDIA, find_media, write_whole
from musetools.lab.explore.clip import Clip, film, read_clip
from musetools.lab.explore.figures import NEAR_MS, FrameView
from musetools.lab.explore.measure import Scene, prepare
from musetools.lab.project import project_file
from musetools.timing import SAMPLE_RATE

__all__ = ["Explorer", "wav"]

ACCEPTED = ",".join(("audio/*", "video/*", *MEDIA))
ZOOMS_MS = (200, NEAR_MS, 2 * NEAR_MS, 4 * NEAR_MS)
STYLE = {"description_width": "initial"}


class Stage(anywidget.AnyWidget):
    """The figure of a frame over which a clip plays; `stage.js` says what leads and what follows."""

    _esm = Path(__file__).with_name("stage.js")
    _css = Path(__file__).with_name("stage.css")

    # from the kernel to the browser
    figure = traitlets.Bytes().tag(sync=True)  # PNG or JPEG
    film = traitlets.Bytes().tag(sync=True)  # WebM: what `clip.film` made
    has_images = traitlets.Bool().tag(sync=True)
    chunks = traitlets.List(traitlets.Bytes()).tag(sync=True)  # WAV of what each side's chunk covers
    roles = traitlets.List(traitlets.Unicode()).tag(sync=True)
    start_s = traitlets.Float().tag(sync=True)  # when the frame that the figure shows starts
    places = traitlets.Dict().tag(sync=True)  # where panels are in the figure, and which time they show
    answered_s = traitlets.Float(-1.0).tag(sync=True)  # the last `asked_s` that was drawn

    # from the browser to the kernel; keys come as messages {"ask": "next difference"}
    plays = traitlets.Bool(False).tag(sync=True)
    asked_s = traitlets.Float(-1.0).tag(sync=True)  # the time of the clip that is wanted


class Explorer(widgets.VBox):
    """Any frame of a clip under two recipes, to look at and to play.

    Show it in Jupyter as the last line of a cell. Its widgets are attributes: setting ``explorer.frame.value`` in code
    does what moving the slider does.

    Parameters
    ----------
    clip : path, default "data/talker_25.mp4"
        The media file shown first. Found as by `musetools.lab.project.project_file`, as is `folder`.
    train, infer : str
        Names of the recipes of the two sides.
    folder : path, default "data"
        Its media files are those to choose from.
    fps : float, optional
        Video frames per second; by default each clip's own, 25 for one without video.
    context : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    encoder : Encoder, str or path, default "tiny.en"
        The weights.

    Attributes
    ----------
    scene, view : Scene, FrameView
        What is shown, and what draws it.
    clip, path, upload, train, infer, fps, left, right, zoom, frame, next_difference, worst_frame : widgets
        What is chosen.
    stage, sentences, message : widgets
        What is shown: the figure with the players, sentences, and what went wrong or is to be known of the frame rate.

    Raises
    ------
    MusetoolsError
        If what it is to start with cannot be shown. For what is chosen later, `message` says why instead.
    """

    def __init__(
        self,
        clip: str | os.PathLike = "data/talker_25.mp4",
        train: str = "musetalk-v1.5-train",
        infer: str = "musetalk-v1.5-infer",
        *,
        folder: str | os.PathLike = "data",
        fps: float | None = None,
        context: tuple[int, int] = (2, 2),
        encoder: str | os.PathLike | Encoder = "tiny.en",
    ):
        self._encoder = as_encoder(encoder)
        first, others = project_file(clip), []
        with suppress(ParameterError):  # a clip of one's own needs no folder of others
            others = [path for _, path in find_media(project_file(folder))]
        self._labels = {path: path.name for path in (first, *others)}
        self._make_controls(train, infer, checked_context(context))
        self.stage = Stage(roles=["training", "inference"])
        self.sentences, self.message = widgets.HTML(), widgets.HTML()
        self.scene: Scene | None = None
        self._settling, self._drawn = False, -2
        self._show(read_clip(first), fps)
        chosen = {self.clip: self._choose_clip, self.upload: self._take_upload, self.path: self._take_path}
        ways = self.train, self.infer, self.fps, self.left, self.right, self.zoom
        for control, action in (chosen | dict.fromkeys(ways, self._choose_way)).items():
            control.observe(lambda _, action=action: self._attempt(action), "value")
        moves = self.frame, self.next_difference, self.worst_frame
        self.frame.observe(lambda _: self._draw(), "value")
        for button in moves[1:]:
            button.on_click(lambda button: self._asked({"ask": button.description}))
        self.stage.on_msg(lambda _, content, buffers: self._asked(content))
        self.stage.observe(lambda change: self._follow(change.new), "asked_s")
        rows = [widgets.HBox([*row], layout={"flex_flow": "row wrap"}) for row in (chosen, ways, moves)]
        super().__init__([*rows, self.message, self.stage, self.sentences])

    def _make_controls(self, train: str, infer: str, context: tuple[int, int]) -> None:
        narrow, middle, wide = ({"style": STYLE, "layout": {"width": f"{px}px"}} for px in (90, 126, 238))
        recipes, most = list(dict.fromkeys([*RECIPES, train, infer])), max(20, *context)
        zooms = [(f"± {ms} ms", ms) for ms in ZOOMS_MS]
        self.clip = widgets.Dropdown(description="clip", style=STYLE)
        self.upload = widgets.FileUpload(accept=ACCEPTED, description="upload a clip")
        self.path = widgets.Text(placeholder="or the path of a file, then Enter", continuous_update=False)
        self.path.layout.width = "380px"
        self.train = widgets.Dropdown(options=recipes, value=train, description="training", **wide)
        self.infer = widgets.Dropdown(options=recipes, value=infer, description="inference", **wide)
        self.fps = widgets.FloatText(description="fps", **narrow)
        self.left = widgets.BoundedIntText(value=context[0], max=most, description="context left", **middle)
        self.right = widgets.BoundedIntText(value=context[1], max=most, description="right", **narrow)
        self.zoom = widgets.Dropdown(options=zooms, value=NEAR_MS, description="zoom", **middle)
        self.frame = widgets.IntSlider(description="frame", layout={"width": "660px"})
        self.next_difference = widgets.Button(description="next difference", tooltip="where rows begin to differ: n")
        self.worst_frame = widgets.Button(description="worst frame", tooltip="whose chunks differ most: w")

    # --- what is asked for

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do what was asked for, or show why not; then what was shown stays."""
        if self._settling:
            return
        self.message.value = "<i>Making features …</i>"
        try:
            action()
            self.message.value = f"<b>{escape(self.scene.rate_note)}</b>"
        except MusetoolsError as error:
            self._settle(self.frame.value)
            still = f"Still shown: {self.scene.clip.name} at {float(self.scene.fps):.6g} fps."
            self.message.value = f'<b style="color: #B00020">{escape(str(error))}.</b> {escape(still)}'

    def _choose_way(self) -> None:
        clip, fps = self.scene.clip, self.fps.value
        is_own = clip.fps is not None and fps == _written(clip.fps)
        self._show(clip, None if is_own else fps)

    def _choose_clip(self) -> None:
        self._show(read_clip(self.clip.value))

    def _take_path(self) -> None:
        if self.path.value.strip():
            self._show(read_clip(project_file(self.path.value.strip())))

    def _take_upload(self) -> None:
        """Write what was uploaded to a file, since decoders read files, and show it."""
        for sent in self.upload.value:
            folder = Path(tempfile.mkdtemp(prefix="musetools-upload-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            name = Path(sent["name"]).name
            path = folder / (name if name.strip(".") else "clip")
            write_whole(path, bytes(sent["content"]))
            self._show(read_clip(path), label=f"{path.name} (uploaded)")

    def _asked(self, content: dict[str, str]) -> None:
        """Go to the frame that a button or a key asks for."""
        scene, frame = self.scene, self.frame.value
        found = {
            "next difference": lambda: scene.next_difference(frame),
            "worst frame": lambda: scene.worst_frame,
            "next frame": lambda: min(frame + 1, self.frame.max),
            "frame before": lambda: max(frame - 1, 0),
        }[content["ask"]]()
        lacking = f"No {content['ask']}: there is no frame at which both sides have chunks that differ."
        self.message.value = lacking if found is None else f"<b>{escape(self.scene.rate_note)}</b>"
        if found is not None:
            self.frame.value = found

    def _follow(self, time_s: float) -> None:
        """Show the frame at a time of the clip, which is where it plays, or where one clicked."""
        frame = self.scene.frame_at(time_s)
        if frame == self.frame.value:
            self._draw()  # anew where it no longer plays
        self.frame.value = frame
        self.stage.answered_s = time_s

    # --- what is shown

    def _show(self, clip: Clip, fps: float | None = None, label: str = "") -> None:
        """Show a clip under what is chosen, at the same time as before; at its own rate unless one is given."""
        before = self.scene
        time_s, is_new = before.start_s(self.frame.value) if before else 0.0, not before or before.clip is not clip
        context, recipes = (self.left.value, self.right.value), (self.train.value, self.infer.value)
        scene = prepare(clip, *recipes, fps=fps, context=context, encoder=self._encoder)
        view = FrameView(scene, self.zoom.value)  # before anything is changed
        self.scene, self.view, self._ahead = scene, view, {}
        self._labels.setdefault(clip.path, label or clip.name)
        self.stage.plays &= not is_new  # a player into which another clip is loaded stands still
        self._settle(scene.frame_at(time_s))
        self._draw()
        if is_new:
            with self.stage.hold_sync():
                self.stage.has_images, self.stage.film = clip.images is not None, film(clip)

    def _settle(self, frame: int) -> None:
        """Let the controls say what is shown, which is no wish to show anything else."""
        self._settling = True
        try:
            self.clip.options = [(label, path) for path, label in self._labels.items()]  # chooses the first one
            self.clip.value = self.scene.clip.path
            self.train.value, self.infer.value = (side.name for side in self.scene.sides)
            self.left.value, self.right.value = self.scene.context
            self.fps.value = _written(self.scene.fps)
            self.frame.max = self.scene.n_frames - 1
            self.frame.value = frame
        finally:
            self._settling = False

    def _draw(self) -> None:
        """Show the chosen frame; while the clip plays, as a JPEG, since the next one comes soon."""
        if self._settling:
            return
        scene, frame, plays = self.scene, self.frame.value, self.stage.plays
        drawn = (self.view.jpeg(frame), self.view.places()) if plays else self._ahead.pop(frame, None)
        image, places = drawn or (self.view.png(frame), self.view.places())
        with self.stage.hold_sync():
            self.stage.places, self.stage.start_s = places, scene.start_s(frame)
            self.stage.chunks = [wav(scene.sound(i, frame)) for i in range(2)]
            self.stage.figure = image
        self.sentences.value = f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in scene.sentences(frame))}</ul>"
        step, self._drawn, self._ahead = frame - self._drawn, frame, {}
        if abs(step) == 1 and not plays and 0 <= (after := frame + step) <= self.frame.max:  # most likely the next
            self._ahead[after] = self.view.png(after), self.view.places()


def _written(fps: Fraction) -> float:
    """Return a frame rate as its control shows it: 29.97, which is taken for 30000/1001."""
    return round(float(fps), 3)


def wav(samples: np.ndarray) -> bytes:
    """Return samples at 16 kHz as a WAV file, as loud as they are; of none, a moment of silence."""
    # normalising, Audio's default, would make silence as loud as speech
    return Audio(samples if len(samples) else np.zeros(1, np.float32), rate=SAMPLE_RATE, normalize=False).data
