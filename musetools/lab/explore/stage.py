"""What of the explorer runs in the browser: it shows the figure, plays the clip, and says where one clicked."""

from pathlib import Path

import anywidget
import traitlets

__all__ = ["Stage"]


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
