"""What every fuzz test shares: how long it runs, how bytes and JSON are damaged, and what counts as a fault.

``python -m pytest tests/fuzz`` tries the same few cases in every run; ``MUSETOOLS_FUZZ_MINUTES=10`` shares out minutes
among the tests and tries new ones. A fault is an exception that is not ours, more than 10 s, more than 1 GiB, or a
result that the test itself finds wrong; a death by a signal ends the run. ``corpus/`` keeps what was found.
"""

import faulthandler
import inspect
import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import musetools
from musetools import MusetoolsError

MINUTES = float(os.environ.get("MUSETOOLS_FUZZ_MINUTES", "0"))
N_TESTS = 10  # among which the minutes are shared out
SLOW_S, MEMORY, STUCK_S = 10, 1 << 30, 120
CORPUS = Path(__file__).parent / "corpus"
PACKAGE = str(Path(musetools.__file__).parent)
OURS = (TypeError, ValueError, IndexError)  # documented ones; raised by our own lines
COUNTS: dict[str, list[int]] = {}  # cases tried of each test, and those that were refused


@contextmanager
def judged(name: str) -> Iterator[None]:
    """Run a case: errors of ours end it, anything else is a fault."""
    count = COUNTS.setdefault(name, [0, 0])
    count[0] += 1
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SLOW_S)
    faulthandler.dump_traceback_later(STUCK_S, exit=True)  # native code heeds no alarm
    try:
        yield
    except MusetoolsError:
        count[1] += 1
    except OURS as error:
        if not _raised_by_us(error):
            raise
        count[1] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, limits)


class Stuck(BaseException):
    """A case takes too long."""


def _too_long(*_: object) -> None:
    raise Stuck(f"more than {SLOW_S} s")


def _raised_by_us(error: BaseException) -> bool:
    """Whether the line that raised it is a `raise` of the package."""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    path = last.tb_frame.f_code.co_filename
    if not path.startswith(PACKAGE):
        return False
    lines = Path(path).read_text("utf-8").splitlines()
    return "raise" in lines[last.tb_lineno - 1]


def fuzz(examples: int) -> Callable:
    """Make a test of a function of (data, ...): so many cases, or as many as there is time for."""

    def made(target: Callable, **how: Any) -> Callable:
        quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
        return settings(**how, **quiet)(given(data=st.data())(target))

    def decorate(target: Callable) -> Callable:
        def run(*args: Any, **others: Any) -> None:
            made(target, max_examples=examples, derandomize=True)(*args, **others)
            end, number = time.monotonic() + 60 * MINUTES / N_TESTS, int(time.time())
            while time.monotonic() < end:
                number += 1
                seed(number)(made(target, max_examples=300, derandomize=False))(*args, **others)

        run.__name__, run.__doc__ = target.__name__, target.__doc__
        run.__signature__ = inspect.signature(made(target))  # by which pytest knows the fixtures
        return run

    return decorate


# --- damage

EDITS = ("flip", "set", "cut", "remove", "repeat", "insert")
BYTES = st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)) | st.integers(0, 255)


@st.composite
def damaged(draw: Callable, content: bytes) -> bytes:
    """Bytes of a file after one to four edits."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not made:
            break
        at = draw(st.integers(0, min(len(made) - 1, 400)) | st.integers(0, len(made) - 1))
        stop = at + draw(st.sampled_from((1, 2, 4, 8, 100, len(made) // 4 + 1)))
        edit = draw(st.sampled_from(EDITS))
        if edit == "flip":
            made[at] ^= 1 << draw(st.integers(0, 7))
        elif edit == "set":
            made[at : min(stop, at + 8)] = bytes([draw(BYTES)]) * (min(stop, at + 8, len(made)) - at)
        elif edit == "cut":
            del made[at:]
        elif edit == "remove":
            del made[at:stop]
        else:
            made[at:at] = made[at:stop] if edit == "repeat" else bytes([draw(BYTES)]) * min(stop - at, 100)
    return bytes(made)


HUGE = st.sampled_from((0, -1, 1, 2**31, 2**53, 2**63, 10**30, 10**400, 0.5, 1e-300, 1e300, True))
ATOMS = st.none() | HUGE | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
ODD = st.sampled_from(("", "..", "../x", "a/b", "1/0", "nan", "con", "\x00", "\ud800", "é", "-", "0", "9" * 400))
VALUES = st.recursive(ATOMS | ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3))


@st.composite
def changed(draw: Callable, plain: Any) -> Any:
    """JSON values with one to three of them replaced, removed or added."""
    made = json.loads(json.dumps(plain))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(made))
        if not places:
            return draw(VALUES)
        holder, key = draw(st.sampled_from(places))
        edit = draw(st.sampled_from(("value", "value", "remove", "add")))
        if edit == "remove":
            del holder[key]
        elif edit == "add" and isinstance(holder, dict):
            holder[draw(ODD)] = draw(VALUES)
        else:
            holder[key] = draw(VALUES)
    return made


def _places(plain: Any) -> Iterator[tuple[Any, Any]]:
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in items:
        yield plain, key
        yield from _places(value)


def as_json(plain: Any) -> bytes:
    return json.dumps(plain).encode(errors="surrogatepass")


@st.composite
def damaged_json(draw: Callable, content: bytes) -> bytes:
    """A JSON file with other values, or damaged as bytes."""
    if draw(st.booleans()):
        return draw(damaged(content))
    return as_json(draw(changed(json.loads(content))))
