"""Readers that fail as a fault in native code does; a `Worker` runs them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from musetools.audio.reading import read_media
from musetools.check.clip import clip_facts
from musetools.errors import AudioError

DEADLY = "deadly.wav"


def dies(path: Path) -> None:
    """End this process as a fault in native code would, for one name."""
    if Path(path).name == DEADLY:
        os.kill(os.getpid(), signal.SIGSEGV)


def deadly_media(path: Path, **options: object) -> Iterator[object]:
    """Read as `read_media` does."""
    for number, item in enumerate(read_media(path, **options)):
        yield item
        if number == 1:
            dies(path)


def deadly_facts(path: Path, **options: object) -> Iterator[object]:
    """Read as `clip_facts` does."""
    dies(path)
    yield from clip_facts(path, **options)


def counting(path: Path, up_to: int = 3) -> Iterator[int]:
    """Count."""
    print("this goes to the error stream")
    yield from range(up_to)


def failing(path: Path) -> Iterator[int]:
    """Count once, then fail."""
    yield 0
    raise AudioError(f"{path} is no sound")
