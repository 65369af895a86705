"""What of musetools' surroundings is here: packages, extras, weights, processor, GPU, ffmpeg, face model."""

import os
import platform
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

import musetools
from musetools.worker import usable_cores

__all__ = ["Machine", "Part", "examine"]

REQUIREMENT = re.compile(r"""([\w.-]+).*?(?:extra == ["'](\w+)["'])?$""")
EXTRAS = {
    "lab": "notebooks and figures",
    "trained": "weights without a network",
    "face": "mouths in videos",
    "corpus": "parquet tables and shards",
    "ray": "extraction on a cluster",
    "bench": "MuseTalk 1.5's own extractor, to compare speed with",
}


@dataclass(frozen=True)
class Part:
    """One thing that musetools uses."""

    name: str
    found: str
    missing: str = ""  # what is not there, or what that means
    get: str = ""  # how to get it
    needed: bool = False  # whether nothing works without it

    def texts(self) -> Iterator[str]:
        """Yield what was found, and what was not with the way to get it."""
        if self.found or not self.missing:
            yield self.found
        if self.missing:
            yield f"missing: {self.missing}{f'. To get it: {self.get}' if self.get else ''}"


@dataclass(frozen=True)
class Machine:
    """All parts."""

    parts: tuple[Part, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is missing that is needed."""
        return not any(part.missing and part.needed for part in self.parts)

    def __repr__(self) -> str:
        width, indent = shutil.get_terminal_size().columns, " " * (2 + max(len(part.name) for part in self.parts))
        lines = [(f"{one.name:<{len(indent)}}", text) for one in self.parts for text in one.texts()]
        return "\n".join(textwrap.fill(text, width, initial_indent=n, subsequent_indent=indent) for n, text in lines)


def examine() -> Machine:
    """Look at everything; nothing is downloaded, and a part that is missing stops nothing."""
    looks = {
        "weights": _weights,
        "dtype auto": _chosen_types,
        "GPU": _gpu,
        "ffmpeg": _ffmpeg,
        "face model": _face_model,
    }
    return Machine((*_packages(), _processor(), *(_tried(name, look) for name, look in looks.items())))


def _tried(name: str, look: Callable[[], Part]) -> Part:
    try:
        return look()
    except ImportError as error:
        return Part(name, "", f"not known: {error}")


def _packages() -> Iterator[Part]:
    """Give versions of what the package needs and of each extra, as its own metadata lists them."""
    wanted: dict[str, dict[str, str | None]] = {}
    with suppress(PackageNotFoundError):
        for line in requires("musetools") or ():
            name, extra = REQUIREMENT.match(line).groups()
            if name != "musetools":
                wanted.setdefault(extra or "", {})[name] = _version(name)
    yield Part("musetools", f"{musetools.__version__}, Python {platform.python_version()}, {platform.system()}")
    yield _installed("packages", wanted.get("", {}), "pip install musetools", needed=True)
    for extra, use in EXTRAS.items():
        yield _installed(f"extra {extra}", wanted.get(extra, {}), f"pip install 'musetools[{extra}]' ({use})")


def _version(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def _installed(name: str, versions: dict[str, str | None], get: str, *, needed: bool = False) -> Part:
    found = ", ".join(f"{one} {number}" for one, number in versions.items() if number)
    missing = ", ".join(one for one, number in versions.items() if not number)
    return Part(name, found, missing or ("" if versions else "not listed in what is installed"), get, needed)


def _weights() -> Part:
    from musetools.features.published import EXTRA, PUBLISHED, find_local

    names = [name for name in PUBLISHED if find_local(name)]
    missing = "" if names else "trained ones; untrained-tiny shows structure alone"
    get = f"{EXTRA} brings tiny.en; other names are downloaded on first use"
    return Part("weights", ", ".join(names), missing, get)


def _chosen_types() -> Part:
    from musetools.features.fastest import kept_choices, processor

    chosen = "; ".join(f"{of}: {choice.dtype} {choice}" for of, choice in kept_choices().items())
    return Part("dtype auto", f"{processor()}; {chosen or 'not measured yet, the first use does it'}")


def _processor() -> Part:
    limit = os.environ.get("OMP_NUM_THREADS")
    threads = f"OMP_NUM_THREADS={limit}" if limit else "threads: all of them"
    return Part("processor", f"{usable_cores()} cores; {threads}")


def _gpu() -> Part:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    return Part("GPU", ", ".join(names), "" if names else "none that torch can use; the processor will do, more slowly")


def _ffmpeg() -> Part:
    import av

    program = shutil.which("ffmpeg")
    missing = "" if program else "the program, which only the audit of a converter needs"
    return Part("ffmpeg", f"libraries {av.ffmpeg_version_info} in PyAV{f'; {program}' if program else ''}", missing)


def _face_model() -> Part:
    from musetools.lips.landmarker import URL, model_place

    place = model_place()
    if place is None:
        return Part("face model", "", "needs the extra face")
    if place.is_file():
        return Part("face model", str(place))
    return Part("face model", "", "not downloaded yet", f"it is on first use; without a network put {URL} at {place}")
