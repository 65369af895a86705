"""Which type of products is fastest on this machine: measured once, then kept in the user's cache folder."""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from musetools.errors import OutputError
from musetools.files import make_folder, write_whole

__all__ = ["AMX", "AUTO", "Choice", "bfloat16_units", "fastest_type", "kept_choices", "processor"]

AUTO = "auto"
GAIN = 1.1  # times faster than the first candidate a lower precision must be, or it is not worth its error
ROUNDS = 3  # of which the fastest counts: what else runs on the machine only ever slows
AMX = "amx_bf16"
UNITS = (AMX, "avx512_bf16")


@dataclass(frozen=True)
class Choice:
    """Which type of products "auto" chose, and why."""

    dtype: str
    seconds: dict[str, float]  # of one block of the encoder for 30 s of audio, by type; empty without a choice

    def __str__(self) -> str:
        measured = ", ".join(f"{dtype} {1000 * seconds:.0f} ms" for dtype, seconds in self.seconds.items())
        return f"by auto{f': a block takes {measured}' if measured else ''}"


def fastest_type(width: int, candidates: Sequence[str], pass_of: Callable[[str], Callable[[], object]]) -> Choice:
    """Choose the fastest type, the first and most exact unless another gains a tenth; measured unless it is known.

    `pass_of` returns what is to be timed in a type; `width` is the model's.
    """
    if len(candidates) == 1:
        return Choice(candidates[0], {})
    path = _place()
    key = f"{_here()}{torch.get_num_threads()} threads | width {width}"
    seconds = _read(path).get(key)
    if not _is_measurement(seconds, candidates):
        seconds = _measure({dtype: pass_of(dtype) for dtype in candidates})
        with suppress(OutputError):  # without a folder to write to, it is measured each time
            make_folder(path.parent)
            write_whole(path, json.dumps({**_read(path), key: seconds}, indent=1).encode())
    return _choice(seconds)


def kept_choices() -> dict[str, Choice]:
    """Return what was chosen on this machine so far, by threads and width of the model."""
    kept = {key.removeprefix(_here()): seconds for key, seconds in _read(_place()).items() if key.startswith(_here())}
    return {of: _choice(seconds) for of, seconds in kept.items() if _is_measurement(seconds, seconds)}


def _here() -> str:
    return f"{processor()} | torch {torch.__version__} | "


def _choice(seconds: dict[str, float]) -> Choice:
    first, best = next(iter(seconds)), min(seconds, key=seconds.get)
    return Choice(best if seconds[best] * GAIN < seconds[first] else first, seconds)


def processor() -> str:
    """Name the processor and its units for bfloat16, as far as the system tells."""
    name = _processor_facts().get("model name", platform.processor() or platform.machine())
    return f"{' '.join(name.split())} ({', '.join(bfloat16_units()) or 'no bfloat16 that is known'})"


def bfloat16_units() -> tuple[str, ...]:
    """Return which units for bfloat16 an x86 processor says that it has."""
    flags = _processor_facts().get("flags", "").split()
    return tuple(unit for unit in UNITS if unit in flags)


@cache
def _processor_facts() -> dict[str, str]:
    """Read what Linux tells of the last core."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    return {}


def _measure(passes: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Time one pass in each type, in turn, after a warm-up."""
    seconds = dict.fromkeys(passes, float("inf"))
    for number in range(1 + ROUNDS):
        for dtype, run in passes.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return seconds


def _place() -> Path:
    return Path(os.getenv("XDG_CACHE_HOME") or Path.home() / ".cache") / "musetools" / "fastest.json"


def _read(path: Path) -> dict[str, object]:
    """Return what is kept; nothing if it is missing, damaged or of another form."""
    with suppress(OSError, ValueError, RecursionError):
        kept = json.loads(path.read_bytes())
        return kept if isinstance(kept, dict) else {}
    return {}


def _is_measurement(seconds: object, candidates: Sequence[str]) -> bool:
    return (
        isinstance(seconds, dict)
        and seconds
        and set(seconds) == set(candidates)
        and all(isinstance(s, float) and 0 < s < 1e6 for s in seconds.values())
    )
