"""Work beside this thread: a process that reads files for it, threads that make items before they are asked for.

A file that ends the process by a fault in native code ends nothing else. Python's own pools would import the caller's
script again, and lose all their work with one process. This one is a plain child that runs a generator at a time and
sends what it yields; what waits in the pipe holds it back.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from threading import Thread
from typing import Any, Generic, TypeVar

from musetools.errors import AudioError

__all__ = ["Ahead", "Worker", "side_by_side", "usable_cores"]

Item = TypeVar("Item")


class Worker:
    """Runs generators in a child process, which is started when it is needed, and again after it died."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def run(self, function: Callable[..., Iterator[Any]], path: str | os.PathLike, **options: Any) -> Iterator[Any]:
        """Yield what ``function(path, **options)`` yields in the child; raise what it raises.

        Raises
        ------
        AudioError
            If the child dies: the file is to blame, by name.
        """
        child = self._child = self._child or _started()
        done = False
        try:
            pickle.dump((function, path, options), child.stdin)
            child.stdin.flush()
            while True:
                kind, what = pickle.load(child.stdout)
                done = kind != "item"
                if kind == "error":
                    raise what
                if done:
                    return
                yield what
        except (EOFError, pickle.UnpicklingError, BrokenPipeError):
            code = child.wait()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise AudioError(
                f"{os.fspath(path)} ends the process that reads it ({how}): a fault in a native decoder. "
                "Export it again in another format"
            ) from None
        finally:
            if not done:
                self._stop()

    def _stop(self) -> None:
        if child := self._child:
            self._child = None
            child.kill()
            child.communicate()


def _started() -> subprocess.Popen:
    # modules come from where they come from here: `-c` alone would take those of the working folder first
    code = "import sys; sys.path = sys.argv[1:]; from musetools.worker import serve; serve()"
    paths = [path for path in sys.path if isinstance(path, str)]  # Python passes over others, too
    return subprocess.Popen([sys.executable, "-c", code, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def serve() -> None:
    """Take work from standard input until it ends: what the child process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too; whoever started it ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not come between the answers
    while True:
        try:
            function, path, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            for item in function(path, **options):
                pickle.dump(("item", item), answers, protocol=5)
                answers.flush()
            last = "end", None
        except Exception as error:
            last = "error", error
        pickle.dump(last, answers)
        answers.flush()


def usable_cores() -> int:
    """Count the cores that this process may use, which may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Ahead(Generic[Item]):
    """Runs a generator in a thread of its own, at most `most` items ahead; whoever iterates meets what it raises.

    The generator is closed in that thread, too.
    """

    def __init__(self, items: Iterator[Item], most: int):
        self._waiting: Queue[tuple[bool, Any]] = Queue(most)
        self._left = self._ended = False
        self._thread = Thread(target=self._fill, args=(items,), daemon=True)
        self._thread.start()

    def _fill(self, items: Iterator[Item]) -> None:
        end = StopIteration()
        try:
            for item in items:
                self._waiting.put((False, item))
                if self._left:
                    items.close()
                    break
        except BaseException as error:
            end = error
        self._waiting.put((True, end))

    def __iter__(self) -> "Ahead[Item]":
        return self

    def __next__(self) -> Item:
        if self._ended:
            raise StopIteration
        self._ended, item = self._waiting.get()
        if self._ended:
            raise item
        return item

    def close(self) -> None:
        """End the generator where it stands; returns when its thread is done."""
        self._left = True
        while not self._ended:
            self._ended, _ = self._waiting.get()
        self._thread.join()


def side_by_side(calls: Iterable[Callable[[], Item]], threads: int, start: Callable[[], None]) -> Iterator[Item]:
    """Yield what calls return, in their order; `threads` of them run at a time, and one more is ready.

    `start` is called first in each thread; the next call is asked for in the thread that iterates.
    """
    running: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(threads, initializer=start) as pool:
        for call in calls:
            running.append(pool.submit(call))
            if len(running) > threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
