"""A suite's progress on a terminal: which cases run, which are done, how long is left."""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from musetools.lab.regression.outcome import CaseReport

__all__ = ["TerminalProgress"]


class TerminalProgress:
    """Writes to stderr: a line of text for each finished case; on a terminal also what runs and how long is left."""

    def __init__(self) -> None:
        # tqdm.auto would draw a widget in Jupyter, which is lost in a headless run
        self._bar = tqdm(file=sys.stderr, bar_format="{n}/{total} {desc}", leave=False, disable=None)

    def __call__(self, finished: Sequence[CaseReport], running: Sequence[str], total: int, left_s: float) -> None:
        """Show the cases that have finished since the last call, and what is left."""
        self._bar.total = total
        for report in finished:
            self._bar.write(f"{report.name} {report.status} in {report.seconds:.0f} s: {report.message}", sys.stderr)
            self._bar.update()
        minutes, seconds = divmod(round(left_s), 60)
        self._bar.set_description_str(f"running {', '.join(running) or 'none'}; about {minutes}:{seconds:02d} left")
        if self._bar.n == total:
            self._bar.close()
