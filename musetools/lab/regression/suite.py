"""The regression suite: notebook runs, in parallel, each compared with its baseline."""

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from musetools.errors import MusetoolsError, OutputError, ParameterError
from musetools.lab.project import project_file
from musetools.lab.record import RESULT_MIME, record
from musetools.lab.regression.baselines import Baseline
from musetools.lab.regression.cases import Case, read_cases
from musetools.lab.regression.runner import COULD_NOT_RUN, FAILED, PASSED, NotebookRun, run_notebook
from musetools.lab.regression.verdicts import CaseReport, SuiteReport

__all__ = ["RESULT_MIME", "Progress", "SuiteReport", "project_file", "record", "run_notebook", "run_suite"]

SUITE, BASELINES, OUT = "notebooks/regression.toml", "data/baselines", "runs"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
NOISE_RUNS: tuple[tuple[int, dict[str, str]], ...] = ((1, {}), (2, {}), (1, AVX2), (2, AVX2))
MEASURED = "largest difference of 4 runs: with 1 and 2 threads, each with all of the processor and with AVX2 alone"


class Progress(Protocol):
    """Who is told how a suite gets on."""

    def begin(self, expected: Mapping[str, float], jobs: int) -> None:
        """Take the names of all cases, with the seconds that each will take."""

    def started(self, case: str) -> None:
        """Take note that a case runs."""

    def finished(self, report: CaseReport) -> None:
        """Take note that a case is done."""

    def end(self) -> None:
        """Take note that all are done."""


@dataclass(frozen=True)
class _Plan:
    """What every case of one suite run has in common."""

    out: Path
    baselines: Path
    threads: int
    update: bool

    def baseline_path(self, case: Case) -> Path:
        return self.baselines / f"{case.name}.json"


def run_suite(
    suite: str | os.PathLike | None = None,
    *,
    only: Sequence[str] = (),
    jobs: int | None = None,
    update: bool = False,
    out: str | os.PathLike | None = None,
    baselines: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> SuiteReport:
    """Run every case of a suite and compare what it records with its baseline.

    Parameters
    ----------
    suite : path, optional
        See `read_cases`; by default the project's ``notebooks/regression.toml``.
    only : sequence of str
        Run the cases whose name starts with one of these; by default all.
    jobs : int, optional
        Cases at a time; by default one a core.
    update : bool, default False
        Whether to run each case four times and make its baseline anew, with tolerances from the noise between the runs.
    out : path, optional
        Folder for executed notebooks; by default the project's ``runs``, made where it is missing.
    baselines : path, optional
        Folder of the baselines; by default the project's ``data/baselines``.
    progress : Progress, optional
        Who is told.

    Returns
    -------
    SuiteReport

    Raises
    ------
    ParameterError
        If the suite cannot be read, or no case has such a name.
    OutputError
        If the folder for executed notebooks cannot be made.
    """
    suite = Path(suite) if suite else project_file(SUITE)
    root, jobs = suite.resolve().parent.parent, max(1, jobs or os.cpu_count() or 1)
    cases = _chosen(read_cases(suite), only, suite)
    out, baselines = (Path(given) if given else root / usual for given, usual in ((out, OUT), (baselines, BASELINES)))
    for folder in (out, baselines) if update else (out,):
        _make(folder)
    plan = _Plan(out.absolute(), baselines, max(1, (os.cpu_count() or 1) // jobs), update)
    started = time.monotonic()
    reports = _run_all(cases, plan, jobs, progress)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return SuiteReport(tuple(reports[case.name] for case in cases), time.monotonic() - started, when, plan.out)


def _chosen(cases: Sequence[Case], only: Sequence[str], suite: Path) -> list[Case]:
    only = [only] if isinstance(only, str) else only
    if missed := [start for start in only if not any(case.name.startswith(start) for case in cases)]:
        names = ", ".join(case.name for case in cases)
        raise ParameterError(f"no case of {suite} starts with {' or '.join(map(repr, missed))}; there are {names}")
    return [case for case in cases if not only or case.name.startswith(tuple(only))]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}. Name one that is writable") from None


def _run_all(cases: Sequence[Case], plan: _Plan, jobs: int, progress: Progress | None) -> dict[str, CaseReport]:
    reports: dict[str, CaseReport] = {}

    def run(case: Case) -> CaseReport:
        if progress:
            progress.started(case.name)
        try:
            return _updated(case, plan) if plan.update else _compared(case, plan)
        except Exception as error:  # whatever one case does, the others are run and told of
            return CaseReport(case.name, case.why, COULD_NOT_RUN, f"{type(error).__name__}: {error}", None, (), 0.0)

    expected = {case.name: _expected_s(case, plan) for case in cases}
    if progress:
        progress.begin(expected, jobs)
    # the longest first, so that none is left to run alone at the end
    order = sorted(cases, key=lambda case: -expected[case.name])
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in as_completed([pool.submit(run, case) for case in order]):
                report = future.result()
                reports[report.name] = report
                if progress:
                    progress.finished(report)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C ends what runs; nothing more is to be started
            raise
        finally:
            if progress:
                progress.end()
    return reports


def _expected_s(case: Case, plan: _Plan) -> float:
    """Return how long a case took when its baseline was made; a minute where that is not known."""
    try:
        seconds = Baseline.load(plan.baseline_path(case)).seconds
    except MusetoolsError:
        seconds = 60.0
    return seconds * (len(NOISE_RUNS) if plan.update else 1)


def _run(case: Case, plan: _Plan, threads: int, env: Mapping[str, str]) -> NotebookRun:
    output = plan.out / f"{case.name}.ipynb"
    return run_notebook(case.notebook, output, case.parameters, timeout_s=case.timeout_s, threads=threads, env=env)


def _compared(case: Case, plan: _Plan) -> CaseReport:
    """Run a case and compare it with its baseline."""
    try:
        baseline = Baseline.load(plan.baseline_path(case))
    except MusetoolsError as error:  # before minutes are spent on a run that cannot be judged
        return CaseReport(case.name, case.why, COULD_NOT_RUN, str(error), None, (), 0.0)
    run = _run(case, plan, plan.threads, {})
    if not run.ok:
        return _report(case, run, run.verdict, run.sentence, ())
    deviations = baseline.compare(run.results, case.ignore)
    wrong = [deviation for deviation in deviations if not deviation.ok]
    if not wrong:
        return _report(case, run, PASSED, f"{len(deviations)} quantities as they should be", deviations)
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return _report(case, run, FAILED, f"{wrong[0].quantity} {wrong[0].fault}{more}", deviations)


def _updated(case: Case, plan: _Plan) -> CaseReport:
    """Run a case several times and make its baseline anew; the report shows what that changes."""
    results, run = [], None
    for threads, env in NOISE_RUNS:
        run = _run(case, plan, threads, env)
        if not run.ok:
            return _report(case, run, run.verdict, run.sentence, ())
        results.append(run.results)
    path = plan.baseline_path(case)
    try:
        made = Baseline.of_runs(results, case.ignore, MEASURED, run.seconds)
        before = _compared_with_old(path, results[0], case)
        made.save(path)
    except MusetoolsError as error:
        return _report(case, run, FAILED, f"no new baseline: {error}", ())
    changed = [f"{deviation.quantity} {deviation.fault}" for deviation in before if not deviation.ok]
    told = "; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else "")
    return _report(case, run, PASSED, f"new baseline, {told or 'nothing changed beyond its tolerance'}", before)


def _compared_with_old(path: Path, results: Mapping[str, Any], case: Case) -> tuple:
    try:
        return Baseline.load(path).compare(results, case.ignore)
    except MusetoolsError:
        return ()


def _report(case: Case, run: NotebookRun, verdict: str, sentence: str, deviations: tuple) -> CaseReport:
    return CaseReport(case.name, case.why, verdict, sentence, run.output, deviations, run.seconds)
