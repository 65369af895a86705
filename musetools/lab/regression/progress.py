"""A suite's progress on a terminal: which cases run, which are done, how long is left."""

import sys
import threading
import time
from collections.abc import Mapping

from tqdm import tqdm

from musetools.lab.regression.verdicts import CaseReport

__all__ = ["TerminalProgress"]

TICK_S = 1.0


class TerminalProgress:
    """Writes to stderr: a line for each case that is done; on a terminal also what runs and how long is left."""

    def begin(self, expected: Mapping[str, float], jobs: int) -> None:
        """Take the names of all cases, with the seconds that each will take."""
        self._expected, self._jobs, self._running = dict(expected), jobs, {}
        self._ended = threading.Event()
        # tqdm.auto would draw a widget in Jupyter, which is lost in a headless run
        self._bar = tqdm(
            total=len(expected), file=sys.stderr, bar_format="{n}/{total} {desc}", leave=False, disable=None
        )
        if sys.stderr.isatty():  # a log would fill with what overwrites itself here
            threading.Thread(target=self._tick, daemon=True).start()

    def started(self, case: str) -> None:
        """Take note that a case runs."""
        self._running[case] = time.monotonic()
        self._show()

    def finished(self, report: CaseReport) -> None:
        """Take note that a case is done."""
        self._running.pop(report.name, None)
        self._expected.pop(report.name, None)
        self._bar.write(f"{report.name} {report.verdict} in {report.seconds:.0f} s: {report.sentence}", sys.stderr)
        self._bar.update()
        self._show()

    def end(self) -> None:
        """Take note that all are done."""
        self._ended.set()
        self._bar.close()

    def left_s(self) -> float:
        """Return the seconds that are left, as far as earlier runs tell."""
        now, running = time.monotonic(), dict(self._running)
        rest = {name: max(0.0, s - (now - running.get(name, now))) for name, s in list(self._expected.items())}
        return max([sum(rest.values()) / self._jobs, *(rest.get(name, 0.0) for name in running)])

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            self._show()

    def _show(self) -> None:
        minutes, seconds = divmod(round(self.left_s()), 60)
        running = ", ".join(list(self._running)) or "starting"
        self._bar.set_description_str(f"running {running}; about {minutes}:{seconds:02d} left")
