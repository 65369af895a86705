"""What a suite run found: a line a case, kept as JSON, told to CI as JUnit XML, compared with an earlier one."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from musetools.errors import ParameterError
from musetools.files import replacing
from musetools.lab.regression.quantities import Deviation
from musetools.lab.regression.runner import COULD_NOT_RUN, FAILED, PASSED
from musetools.table import Table

__all__ = ["CaseReport", "SuiteReport", "compare_reports"]

EXIT_CODES = {PASSED: 0, FAILED: 1, COULD_NOT_RUN: 2}


@dataclass(frozen=True)
class CaseReport:
    """What became of one case.

    Attributes
    ----------
    name, why : str
        The case, and what it guards.
    verdict : str
        "passed", "failed" or "could not run".
    sentence : str
        Why.
    output : Path or None
        The executed notebook, or what there is of it.
    deviations : tuple of Deviation
        Every quantity against its baseline.
    seconds : float
        How long the last run took.
    """

    name: str
    why: str
    verdict: str
    sentence: str
    output: Path | None
    deviations: tuple[Deviation, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return self.verdict == PASSED

    @property
    def worst(self) -> Deviation | None:
        """The deviation that takes most of its tolerance, faults first."""
        return max(self.deviations, key=lambda d: (not d.ok, d.share), default=None)


@dataclass(frozen=True)
class SuiteReport:
    """What became of all cases.

    Attributes
    ----------
    cases : tuple of CaseReport
        In the suite's order.
    seconds : float
        How long all of it took.
    when : str
        Date and time of its end, UTC.
    folder : Path
        Where executed notebooks are.
    """

    cases: tuple[CaseReport, ...]
    seconds: float
    when: str
    folder: Path

    @property
    def verdict(self) -> str:
        """The suite's: "failed" if any case did, else "could not run" if any could not, else "passed"."""
        verdicts = {case.verdict for case in self.cases}
        return next((bad for bad in (FAILED, COULD_NOT_RUN) if bad in verdicts), PASSED)

    @property
    def ok(self) -> bool:
        """Whether every case passed."""
        return self.verdict == PASSED

    @property
    def exit_code(self) -> int:
        """0, 1 or 2: passed, failed, could not run."""
        return EXIT_CODES[self.verdict]

    @property
    def sentence(self) -> str:
        """How many cases did what."""
        counts = {verdict: sum(case.verdict == verdict for case in self.cases) for verdict in EXIT_CODES}
        told = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
        return f"{len(self.cases)} case{'s' * (len(self.cases) > 1)} in {self.seconds:.0f} s: {told}"

    def table(self) -> Table:
        """Return a line a case."""
        lines = [[c.name, c.verdict, f"{c.seconds:.0f} s", *_nearest_cells(c.worst), c.sentence] for c in self.cases]
        head = ["case", "verdict", "time", "nearest to its tolerance", "error", "tolerance", ""]
        return Table(head, lines, self.sentence)

    def worst_table(self, n: int = 10) -> Table:
        """Return the deviations that take most of their tolerances."""
        every = [(case, deviation) for case in self.cases for deviation in case.deviations]
        every.sort(key=lambda pair: (not pair[1].ok, pair[1].share), reverse=True)
        lines = [[case.name, *_worst_cells(d), f"{100 * d.share:.3g} %", d.fault] for case, d in every[:n]]
        return Table(["case", "quantity", "error", "tolerance", "of it", ""], lines)

    def to_json(self) -> str:
        """Return all of it as JSON; an error that cannot be subtracted is null."""
        plain = {**asdict(self), "folder": str(self.folder)}
        for case in plain["cases"]:
            case["output"] = str(case["output"]) if case["output"] else None
            for deviation in case["deviations"]:
                deviation["error"] = None if deviation["error"] == float("inf") else deviation["error"]
        return json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "SuiteReport":
        """Read what `to_json` gave.

        Raises
        ------
        ParameterError
            If there is no such report.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(tuple(map(_case, plain["cases"])), plain["seconds"], plain["when"], Path(plain["folder"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParameterError(f"{path} is no report that can be read: {error!r}. Name a report.json") from None

    def junit(self) -> bytes:
        """Return JUnit XML: a test case for each case, with a failure or an error."""
        counts = {"tests": len(self.cases), "time": f"{self.seconds:.1f}"}
        for key, verdict in (("failures", FAILED), ("errors", COULD_NOT_RUN)):
            counts[key] = sum(case.verdict == verdict for case in self.cases)
        suite = ElementTree.Element("testsuite", name="musetools regress", **{k: str(v) for k, v in counts.items()})
        for case in self.cases:
            line = ElementTree.SubElement(
                suite, "testcase", classname="regress", name=case.name, time=f"{case.seconds:.1f}"
            )
            if not case.ok:
                kind = "failure" if case.verdict == FAILED else "error"
                bad = ElementTree.SubElement(line, kind, message=_printable(case.sentence))
                faults = (f"{d.quantity} {d.fault}" for d in case.deviations if not d.ok)
                bad.text = _printable("\n".join(faults) or case.sentence)
        return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)

    def save(self, path: str | os.PathLike, content: str | bytes) -> None:
        """Write one form of it, whole or not at all."""
        with replacing(path) as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return f"<b>{escape(self.verdict)}</b>{self.table()._repr_html_()}"


def _printable(text: str) -> str:
    """Leave out what XML cannot hold: the colours of a traceback, say."""
    return "".join(c for c in text if c in "\n\t" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff")


def _nearest_cells(worst: Deviation | None) -> list[str]:
    return ["none: all are equal", "", ""] if worst and worst.equal else _worst_cells(worst)


def _worst_cells(worst: Deviation | None) -> list[str]:
    return [worst.quantity, f"{worst.error:.3g}", f"{worst.tolerance:.3g}"] if worst else ["", "", ""]


def _case(plain: dict) -> CaseReport:
    told = [{**d, "error": float("inf") if d["error"] is None else d["error"]} for d in plain["deviations"]]
    deviations = tuple(Deviation(**one) for one in told)
    return CaseReport(**{**plain, "output": plain["output"] and Path(plain["output"]), "deviations": deviations})


def compare_reports(earlier: SuiteReport, later: SuiteReport) -> Table:
    """Return what changed from one report to another: verdicts, times, the largest change of an error.

    Parameters
    ----------
    earlier, later : SuiteReport
        Two reports.

    Returns
    -------
    Table
        A line for each case of either.
    """
    before, after = ({case.name: case for case in report.cases} for report in (earlier, later))
    lines = [[name, *_change(before.get(name), after.get(name))] for name in dict.fromkeys([*before, *after])]
    head = ["case", "verdict", "time", "largest change of an error", "from", "to"]
    return Table(head, lines, f"From {earlier.when} to {later.when}.")


def _change(before: CaseReport | None, after: CaseReport | None) -> Sequence[str]:
    if before is None or after is None:
        there = before or after
        return ["only earlier" if after is None else "only later", f"{there.seconds:.0f} s", "", "", ""]
    verdict = after.verdict if before.verdict == after.verdict else f"{before.verdict} → {after.verdict}"
    errors = {deviation.quantity: deviation.error for deviation in before.deviations}
    moved = [(d.quantity, errors[d.quantity], d.error) for d in after.deviations if d.quantity in errors]
    moved = [one for one in moved if one[1] != one[2]]
    name, was, now = max(moved, key=lambda one: abs(one[2] - one[1]), default=("none", 0.0, 0.0))
    return [verdict, f"{before.seconds:.0f} → {after.seconds:.0f} s", name, f"{was:.3g}", f"{now:.3g}"]
