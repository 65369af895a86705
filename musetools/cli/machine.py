"""What of musetools' surroundings is here: packages, extras, weights, processor, GPU, ffmpeg, face model."""

import os
import platform
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version

import musetools
from musetools.worker import usable_cores

__all__ = ["examine"]

REQUIREMENT = re.compile(r"""([\w.-]+).*?(?:extra == ["'](\w+)["'])?$""")
EXTRAS = {
    "lab": "notebooks and figures",
    "trained": "weights without a network",
    "face": "mouths in videos",
    "corpus": "parquet tables and shards",
    "ray": "extraction on a cluster",
    "bench": "MuseTalk 1.5's own extractor, to compare speed with",
}


Part = tuple[str, str, str]  # what was found; what is missing, or what that means; how to get it


def examine() -> tuple[str, bool]:
    """Look at everything, download nothing; return what is here and what is missing, and whether musetools can work."""
    wanted = _wanted()
    needed = wanted.get("", {})
    this = f"{musetools.__version__}, Python {platform.python_version()}, {platform.system()}"
    looks = {
        "musetools": lambda: (this, "", ""),
        "packages": partial(_installed, needed, "pip install musetools"),
        **{
            f"extra {extra}": partial(_installed, wanted.get(extra, {}), f"pip install 'musetools[{extra}]' ({use})")
            for extra, use in EXTRAS.items()
        },
        "processor": _processor,
        "weights": _weights,
        "dtype auto": _chosen_types,
        "GPU": _gpu,
        "ffmpeg": _ffmpeg,
        "face model": _face_model,
    }
    width, indent = shutil.get_terminal_size().columns, " " * (2 + max(map(len, looks)))
    lines = [(name.ljust(len(indent)), text) for name, look in looks.items() for text in _texts(look)]
    text = "\n".join(textwrap.fill(text, width, initial_indent=n, subsequent_indent=indent) for n, text in lines)
    return text, bool(needed) and all(needed.values())


def _texts(look: Callable[[], Part]) -> Iterator[str]:
    """Yield what was found, and what was not with the way to get it; a part that is missing stops nothing."""
    try:
        found, missing, get = look()
    except ImportError as error:
        found, missing, get = "", f"not known: {error}", ""
    if found or not missing:
        yield found
    if missing:
        yield f"missing: {missing}{f'. To get it: {get}' if get else ''}"


def _wanted() -> dict[str, dict[str, str | None]]:
    """Give versions of what the package and each extra need, as its own metadata lists them; None: not installed."""
    wanted: dict[str, dict[str, str | None]] = {}
    with suppress(PackageNotFoundError):
        for line in requires("musetools") or ():
            name, extra = REQUIREMENT.match(line).groups()
            if name != "musetools":
                wanted.setdefault(extra or "", {})[name] = _version(name)
    return wanted


def _version(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def _installed(versions: dict[str, str | None], get: str) -> Part:
    found = ", ".join(f"{one} {number}" for one, number in versions.items() if number)
    missing = ", ".join(one for one, number in versions.items() if not number)
    return found, missing or ("" if versions else "not listed in what is installed"), get


def _processor() -> Part:
    limit = os.environ.get("OMP_NUM_THREADS")
    return f"{usable_cores()} cores; {f'OMP_NUM_THREADS={limit}' if limit else 'threads: all of them'}", "", ""


def _weights() -> Part:
    from musetools.features.published import EXTRA, PUBLISHED, find_local

    names = [name for name in PUBLISHED if find_local(name)]
    missing = "" if names else "trained ones; untrained-tiny shows structure alone"
    return ", ".join(names), missing, f"{EXTRA} brings tiny.en; other names are downloaded on first use"


def _chosen_types() -> Part:
    from musetools.features.fastest import kept_choices, processor

    chosen = "; ".join(f"{of}: {choice.dtype} {choice}" for of, choice in kept_choices().items())
    return f"{processor()}; {chosen or 'not measured yet, the first use does it'}", "", ""


def _gpu() -> Part:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    return ", ".join(names), "" if names else "none that torch can use; the processor will do, more slowly", ""


def _ffmpeg() -> Part:
    import av

    program = shutil.which("ffmpeg")
    missing = "" if program else "the program, which only the audit of a converter needs"
    return f"libraries {av.ffmpeg_version_info} in PyAV{f'; {program}' if program else ''}", missing, ""


def _face_model() -> Part:
    from musetools.lips.landmarker import URL, model_place

    place = model_place()
    if place is None:
        return "", "needs the extra face", ""
    if place.is_file():
        return str(place), "", ""
    return "", "not downloaded yet", f"it is on first use; without a network put {URL} at {place}"
