"""The explorer's room: any frame of a clip under two recipes, with widgets (`Explorer`) or without.

Without: `read_clip` reads a media file once, `prepare` chunks it by two recipes, `FrameView` draws any of its frames.
"""

from musetools.lab.explore.clip import Clip, read_clip
from musetools.lab.explore.explorer import Explorer
from musetools.lab.explore.figures import FrameView
from musetools.lab.explore.measure import Scene, prepare

__all__ = ["Clip", "Explorer", "FrameView", "Scene", "prepare", "read_clip"]
