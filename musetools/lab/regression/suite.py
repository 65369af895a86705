"""The regression suite: notebook runs, in parallel, each compared with its baseline."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from musetools.errors import MusetoolsError, OutputError, ParameterError
from musetools.lab.project import project_file
from musetools.lab.regression.baselines import Baseline
from musetools.lab.regression.cases import Case, read_cases
from musetools.lab.regression.outcome import CaseReport, SuiteReport
from musetools.lab.regression.quantities import Deviation
from musetools.lab.regression.runner import COULD_NOT_RUN, FAILED, PASSED, NotebookRun, run_notebook

__all__ = ["Progress", "run_suite"]

SUITE, BASELINES, OUT = "notebooks/regression.toml", "data/baselines", "runs"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
NOISE_RUNS: tuple[tuple[int, dict[str, str]], ...] = ((1, {}), (2, {}), (1, AVX2), (2, AVX2))
MEASURED = "largest difference of 4 runs: with 1 and 2 threads, each with all of the processor and with AVX2 alone"
TICK_S = 1.0
UNKNOWN_S = 60.0  # how long a case is expected to take that has no baseline


# what is called as a suite gets on: newly finished cases, names of those that run, number of all, seconds left
Progress = Callable[[Sequence[CaseReport], Sequence[str], int, float], None]


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
    progress : callable, optional
        What is called every second and as cases end, with the reports of newly finished cases, the names of those that
        run, the number of all, and the seconds that are left.

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
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {error.strerror}. Name one that is writable") from None
    plan = _Plan(out.absolute(), baselines, max(1, (os.cpu_count() or 1) // jobs), update)
    started = time.monotonic()
    reports = _run_all(cases, plan, jobs, progress or (lambda *_: None))
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return SuiteReport(tuple(reports[case.name] for case in cases), time.monotonic() - started, when, plan.out)


def _chosen(cases: Sequence[Case], only: Sequence[str], suite: Path) -> list[Case]:
    only = [only] if isinstance(only, str) else only
    if missed := [start for start in only if not any(case.name.startswith(start) for case in cases)]:
        names = ", ".join(case.name for case in cases)
        raise ParameterError(f"no case of {suite} starts with {' or '.join(map(repr, missed))}; there are {names}")
    return [case for case in cases if not only or case.name.startswith(tuple(only))]


def _run_all(cases: Sequence[Case], plan: _Plan, jobs: int, progress: Progress) -> dict[str, CaseReport]:
    """Run the cases, the longest first, so that none is left to run alone at the end."""
    expected = {case.name: _expected_s(case, plan) for case in cases}
    reports, began = {}, {}

    def run(case: Case) -> None:
        began[case.name] = time.monotonic()
        try:
            reports[case.name] = _updated(case, plan) if plan.update else _compared(case, plan)
        except Exception as error:  # whatever one case does, the others are run and reported
            reports[case.name] = CaseReport(case.name, case.why, COULD_NOT_RUN, f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(jobs) as pool:
        waiting, shown = {pool.submit(run, case) for case in sorted(cases, key=lambda c: -expected[c.name])}, set()
        try:
            while waiting:
                _, waiting = wait(waiting, TICK_S, FIRST_COMPLETED)
                done, running = set(reports), [name for name in list(began) if name not in reports]
                left_s = _left_s({name: expected[name] for name in expected.keys() - done}, began, jobs)
                progress([reports[name] for name in done - shown], running, len(cases), left_s)
                shown = done
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C ends what runs; nothing more is to be started
            raise
    return reports


def _left_s(expected: Mapping[str, float], began: Mapping[str, float], jobs: int) -> float:
    """Return the seconds that are left for the cases that are expected, as far as earlier runs show."""
    now = time.monotonic()
    rest = {name: max(0.0, seconds - (now - began.get(name, now))) for name, seconds in expected.items()}
    return max([sum(rest.values()) / jobs, *(rest[name] for name in rest if name in began)])


def _expected_s(case: Case, plan: _Plan) -> float:
    """Return how long a case took when its baseline was made."""
    try:
        seconds = Baseline.load(plan.baseline_path(case)).seconds
    except MusetoolsError:
        seconds = UNKNOWN_S
    return seconds * (len(NOISE_RUNS) if plan.update else 1)


def _run(case: Case, plan: _Plan, threads: int, env: Mapping[str, str]) -> NotebookRun:
    output = plan.out / f"{case.name}.ipynb"
    return run_notebook(case.notebook, output, case.parameters, timeout_s=case.timeout_s, threads=threads, env=env)


def _compared(case: Case, plan: _Plan) -> CaseReport:
    """Run a case and compare it with its baseline."""
    try:
        baseline = Baseline.load(plan.baseline_path(case))
    except MusetoolsError as error:  # before minutes are spent on a run that cannot be judged
        return CaseReport(case.name, case.why, COULD_NOT_RUN, str(error))
    run = _run(case, plan, plan.threads, {})
    if not run.ok:
        return _report(case, run, run.status, run.message)
    deviations = baseline.compare(run.results, case.ignore)
    faults = _faults(deviations, shown=1)
    message = faults or f"{len(deviations)} quantities within their tolerances"
    return _report(case, run, FAILED if faults else PASSED, message, deviations)


def _updated(case: Case, plan: _Plan) -> CaseReport:
    """Run a case several times and make its baseline anew; the report shows what that changes."""
    results, path = [], plan.baseline_path(case)
    for threads, env in NOISE_RUNS:
        run = _run(case, plan, threads, env)
        if not run.ok:
            return _report(case, run, run.status, run.message)
        results.append(run.results)
    try:
        made = Baseline.of_runs(results, case.ignore, MEASURED, run.seconds)
        before = _compared_with_old(path, results[0], case)
        made.save(path)
    except MusetoolsError as error:
        return _report(case, run, FAILED, f"no new baseline: {error}")
    changed = _faults(before, shown=5) or "nothing changed beyond its tolerance"
    return _report(case, run, PASSED, f"new baseline, {changed}", before)


def _compared_with_old(path: Path, results: Mapping[str, Any], case: Case) -> tuple[Deviation, ...]:
    try:
        return Baseline.load(path).compare(results, case.ignore)
    except MusetoolsError:
        return ()


def _faults(deviations: Sequence[Deviation], shown: int) -> str:
    """Name the first faults and count the others."""
    faults = [f"{deviation.quantity} {deviation.fault}" for deviation in deviations if not deviation.ok]
    return "; ".join([*faults[:shown], *([f"and {len(faults) - shown} more"] if len(faults) > shown else [])])


def _report(
    case: Case, run: NotebookRun, status: str, message: str, deviations: tuple[Deviation, ...] = ()
) -> CaseReport:
    return CaseReport(case.name, case.why, status, message, run.output, deviations, run.seconds)
