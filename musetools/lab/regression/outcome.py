"""What a suite run found: a table row a case, kept as JSON, compared with an earlier run."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from heapq import nlargest
from math import inf
from pathlib import Path
from typing import Any

from musetools.errors import ParameterError
from musetools.lab.answer import Answer
from musetools.lab.regression.baselines import Deviation
from musetools.lab.regression.runner import COULD_NOT_RUN, FAILED, PASSED, Judged
from musetools.schema import NUMBER, SECONDS, TEXT, Schema, either, exactly, list_of
from musetools.table import Table

__all__ = ["EXIT_CODES", "CaseReport", "SuiteReport", "compare_reports", "status_of", "summary_of"]

EXIT_CODES = {PASSED: 0, FAILED: 1, COULD_NOT_RUN: 2}
_SHOWN = dict.fromkeys(("fault", "measured", "expected"), TEXT)
_DEVIATION = exactly(*_SHOWN, quantity=TEXT, error=either(NUMBER, None), tolerance=NUMBER, **_SHOWN)
_TEXTS = dict.fromkeys(("name", "why", "message"), TEXT)
_HOW = {"status": {"enum": [*EXIT_CODES]}, "output": either(TEXT, None), "deviations": list_of(_DEVIATION)}
_CASES = list_of(exactly(seconds=SECONDS, **_TEXTS, **_HOW))
REPORT = Schema(exactly(cases=_CASES, seconds=SECONDS, when=TEXT, folder=TEXT))


@dataclass(frozen=True)
class CaseReport(Judged):
    """What became of one case."""

    name: str
    why: str  # what it guards
    status: str
    message: str  # why
    output: Path | None = None  # the executed notebook, or what there is of it
    deviations: tuple[Deviation, ...] = ()  # every quantity against its baseline
    seconds: float = 0.0  # how long the last run took

    @property
    def worst(self) -> Deviation:
        """The one of its deviations that takes most of its tolerance; one of nothing where nothing was compared."""
        return max(self.deviations, key=lambda d: d.share, default=Deviation("", 0.0, 0.0))

    @property
    def faults(self) -> list[Deviation]:
        """Its deviations beyond their tolerance."""
        return [deviation for deviation in self.deviations if not deviation.ok]


def status_of(cases: Sequence[Judged]) -> str:
    """Return the status of all cases: "failed" if any did, else "could not run" if any could not, else "passed"."""
    found = {case.status for case in cases}
    return next((bad for bad in (FAILED, COULD_NOT_RUN) if bad in found), PASSED)


def summary_of(cases: Sequence[Judged], seconds: float) -> str:
    """Say how many cases ended in which status, and how long all of it took."""
    count = Counter(case.status for case in cases)
    counts = ", ".join(f"{count[status]} {status}" for status in EXIT_CODES if count[status])
    return f"{len(cases)} case{'s' * (len(cases) > 1)} in {seconds:.0f} s: {counts}"


@dataclass(frozen=True, repr=False)
class SuiteReport(Judged, Answer):
    """What became of all cases."""

    cases: tuple[CaseReport, ...]  # in the suite's order
    seconds: float  # how long all of it took
    when: str  # date and time of its end, UTC
    folder: Path  # where executed notebooks are

    @property
    def status(self) -> str:
        """The status of all."""
        return status_of(self.cases)

    @property
    def exit_code(self) -> int:
        """0, 1 or 2: passed, failed, could not run."""
        return EXIT_CODES[self.status]

    @property
    def summary(self) -> str:
        """How many cases ended in which status."""
        return summary_of(self.cases, self.seconds)

    def table(self) -> Table:
        """Return a table row a case, with the deviation that comes nearest to its tolerance."""
        rows = [[case.name, case.status, f"{case.seconds:.0f} s", *_nearest(case), case.message] for case in self.cases]
        head = ["case", "status", "time", "nearest to its tolerance", "error", "tolerance", ""]
        return Table(head, rows, self.summary)

    def worst_table(self, n: int = 10) -> Table:
        """Return the deviations that take most of their tolerances."""
        every = [(case.name, d) for case in self.cases for d in case.deviations]
        worst = nlargest(n, every, key=lambda pair: pair[1].share)
        rows = [[name, *_cells(d), f"{100 * d.share:.3g} %", d.fault] for name, d in worst]
        return Table(["case", "quantity", "error", "tolerance", "of it", ""], rows)

    def to_json(self) -> str:
        """Return all of it as JSON; an error that cannot be subtracted is null."""
        text = json.dumps(asdict(self), default=os.fspath)
        return json.dumps(json.loads(text, parse_constant=lambda infinity: None), indent=1)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "SuiteReport":
        """Read what `to_json` gave; ParameterError if there is no such report."""
        try:
            plain = REPORT.parse(Path(path).read_bytes())
            return cls(tuple(map(_case, plain["cases"])), plain["seconds"], plain["when"], Path(plain["folder"]))
        except (OSError, ValueError) as error:
            raise ParameterError(f"{path} is no report that can be read: {error}. Name a report.json") from None


def _case(plain: dict[str, Any]) -> CaseReport:
    found = (Deviation(**one | {"error": inf if one["error"] is None else one["error"]}) for one in plain["deviations"])
    return CaseReport(**plain | {"output": plain["output"] and Path(plain["output"]), "deviations": tuple(found)})


def _nearest(case: CaseReport) -> list[str]:
    return _cells(case.worst) if case.worst.error else ["none: all are equal" * bool(case.deviations), "", ""]


def _cells(deviation: Deviation) -> list[str]:
    return [deviation.quantity, f"{deviation.error:.3g}", f"{deviation.tolerance:.3g}"]


def compare_reports(earlier: SuiteReport, later: SuiteReport) -> Table:
    """Return what changed from one report to another: status, times, the largest change of an error.

    Parameters
    ----------
    earlier, later : SuiteReport
        Two reports.

    Returns
    -------
    Table
        A table row for each case of either.
    """
    before, after = ({case.name: case for case in report.cases} for report in (earlier, later))
    rows = [[name, *_change(before.get(name), after.get(name))] for name in before | after]
    head = ["case", "status", "time", "number whose error changed most", "error then", "error now"]
    return Table(head, rows, f"From {earlier.when} to {later.when}.")


def _change(before: CaseReport | None, after: CaseReport | None) -> list[str]:
    if before is None or after is None:
        return ["only earlier" if before else "only later", f"{(before or after).seconds:.0f} s", "", "", ""]
    status = after.status if before.status == after.status else f"{before.status} → {after.status}"
    then = {d.quantity: d.error for d in before.deviations}
    both = [(d.quantity, then[d.quantity], d.error) for d in after.deviations if d.quantity in then]
    moved = [one for one in both if one[1] != one[2]]
    name, was, now = max(moved, key=lambda one: abs(one[2] - one[1]), default=("none", 0.0, 0.0))
    return [status, f"{before.seconds:.0f} → {after.seconds:.0f} s", name, f"{was:.3g}", f"{now:.3g}"]
