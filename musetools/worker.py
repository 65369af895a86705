"""A process that reads files for this one: a file that ends it by a fault in native code ends nothing else.

Python's own pools would import the caller's script again, and lose all their work with one process. This one is a plain
child that runs a generator at a time and sends what it yields; what waits in the pipe holds it back.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from musetools.errors import AudioError

__all__ = ["Worker"]


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
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    command = [sys.executable, "-c", "from musetools.worker import serve; serve()"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": paths})


def serve() -> None:
    """Take work from standard input until it ends: what the child process runs."""
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
