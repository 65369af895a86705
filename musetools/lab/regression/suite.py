"""The regression suite: notebook runs, in parallel, each compared with its baseline."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tqdm import tqdm

from musetools.errors import MusetoolsError, ParameterError
from musetools.files import make_folder
from musetools.lab.project import project_file
from musetools.lab.regression.baselines import Baseline, Deviation
from musetools.lab.regression.cases import Case, read_cases
from musetools.lab.regression.outcome import CaseReport, SuiteReport
from musetools.lab.regression.parameters import declared, read_notebook
from musetools.lab.regression.runner import COULD_NOT_RUN, FAILED, Judged, NotebookRun, message_of, run_notebook
from musetools.worker import usable_cores

__all__ = ["run_all", "run_suite"]

SUITE, BASELINES, OUT = "notebooks/regression.toml", "data/baselines", "runs"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
AVX2 |= {"OPENBLAS_CORETYPE": "Haswell"}  # numpy's
NOISE_RUNS: tuple[tuple[int, dict[str, str]], ...] = ((1, {}), (2, {}), (1, AVX2), (2, AVX2))
MEASURED = "largest difference of 4 runs: with 1 and 2 threads, each with all of the processor and with AVX2 alone"
UNKNOWN_S = 60.0  # how long a case is expected to take that has no baseline


def run_suite(
    suite: str | os.PathLike | None = None,
    *,
    only: Sequence[str] = (),
    jobs: int | None = None,
    update: bool = False,
    encoder: str | None = None,
    out: str | os.PathLike | None = None,
    baselines: str | os.PathLike | None = None,
    progress: bool = False,
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
        Whether to run each case four times and make a new baseline, with tolerances from the noise between the runs.
    encoder : str, optional
        Other Whisper weights for each notebook that has a parameter ``encoder``; what those record is compared with no
        baseline.
    out : path, optional
        Folder for executed notebooks; by default the project's ``runs``, made where it is missing.
    baselines : path, optional
        Folder of the baselines; by default the project's ``data/baselines``.
    progress : bool, default False
        Whether to write a line of text to stderr for each finished case, and on a terminal what runs and how long is
        left.

    Returns
    -------
    SuiteReport

    Raises
    ------
    ParameterError
        If the suite cannot be read, no case has such a name, or baselines are to be made with other weights.
    OutputError
        If the folder for executed notebooks cannot be made.
    """
    if update and encoder:
        raise ParameterError(
            f"baselines are made with the suite's own weights: leave update or encoder={encoder!r} out"
        )
    suite = Path(suite) if suite else project_file(SUITE)
    root = suite.resolve().parent.parent
    cases = _chosen(read_cases(suite), [only] if isinstance(only, str) else only, suite)
    out, baselines = Path(out or root / OUT).absolute(), Path(baselines or root / BASELINES)
    for folder in (out, baselines) if update else (out,):
        make_folder(folder)
    path_of = {case: baselines / f"{case.name}.json" for case in cases}

    def run(case: Case, threads: int) -> CaseReport:
        output = out / f"{case.name}.ipynb"
        try:
            takes = encoder is not None and "encoder" in declared(read_notebook(case.notebook))
            weights = {"encoder": encoder} if takes else {}
            execute = partial(run_notebook, case.notebook, output, case.parameters | weights, timeout_s=case.timeout_s)
            if update:
                return _updated(case, path_of[case], execute)
            if weights:
                return _report(case, execute(threads=threads), f"ran with {encoder}, compared with no baseline")
            return _compared(case, path_of[case], partial(execute, threads=threads))
        except Exception as error:  # whatever one case does, the others are run and reported
            return CaseReport(case.name, case.why, COULD_NOT_RUN, message_of(error))

    reports, seconds = run_all(run, {case: _expected_s(path) for case, path in path_of.items()}, jobs, progress)
    return SuiteReport(reports, seconds, datetime.now(UTC).isoformat(timespec="seconds"), out)


def _chosen(cases: Sequence[Case], only: Sequence[str], suite: Path) -> list[Case]:
    if not all(isinstance(start, str) for start in only):
        raise ParameterError(f"a case is named by text; got {list(only)}. By -p papermill takes 04 for 4, by -r not")
    if missed := [start for start in only if not any(case.name.startswith(start) for case in cases)]:
        names = ", ".join(case.name for case in cases)
        raise ParameterError(f"no case of {suite} starts with {' or '.join(map(repr, missed))}; there are {names}")
    return [case for case in cases if not only or case.name.startswith(tuple(only))]


def _expected_s(baseline: Path) -> float:
    """Return how long a case took when its baseline was made."""
    try:
        return Baseline.load(baseline).seconds
    except MusetoolsError:
        return UNKNOWN_S


def run_all(
    run: Callable[[Case, int], Judged], expected_s: Mapping[Case, float], jobs: int | None, progress: bool
) -> tuple[tuple[Judged, ...], float]:
    """Run cases, each on so many threads; return what became of them, in their order, and the seconds that all took.

    The longest runs first, so that it is not left to run alone at the end.
    """
    jobs, started = max(1, jobs or usable_cores()), time.monotonic()
    threads, pool, reports = max(1, usable_cores() // jobs), ThreadPoolExecutor(jobs), {}
    order = sorted(expected_s, key=expected_s.get, reverse=True)
    left = {pool.submit(run, case, threads): case for case in order}  # the first of them run, the others wait
    done = as_completed(tuple(left))
    # tqdm.auto would draw a widget in Jupyter, which is lost in a headless run
    options = {"bar_format": "{desc}; {remaining} left", "smoothing": 0, "disable": None if progress else True}
    bar = tqdm(total=sum(expected_s.values()), file=sys.stderr, leave=False, **options)
    try:
        while left:
            names = [case.name for case in left.values()]
            bar.set_description_str(f"running {', '.join(names[:jobs])}; {len(names)} of {len(order)} to do")
            future = next(done)
            case = left.pop(future)
            report = reports[case] = future.result()
            bar.update(expected_s[case])
            if progress:
                bar.write(f"{case.name} {report.status} in {report.seconds:.0f} s: {report.message}", sys.stderr)
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)  # Ctrl-C ends what runs; nothing more is to be started
    return tuple(map(reports.get, expected_s)), time.monotonic() - started


def _compared(case: Case, path: Path, execute: Callable[..., NotebookRun]) -> CaseReport:
    """Run a case and compare it with its baseline."""
    baseline = Baseline.load(path)  # one that cannot be used raises before minutes are spent
    run = execute()
    deviations = baseline.compare(run.results, case.ignore) if run.ok else ()
    passed = f"{len(deviations)} quantities within their tolerances"
    return _report(case, run, passed, _faults(deviations, shown=1), deviations)


def _updated(case: Case, path: Path, execute: Callable[..., NotebookRun]) -> CaseReport:
    """Run a case several times and make a new baseline; the report shows what that changes."""
    results, before = [], ()
    for threads, env in NOISE_RUNS:
        run = execute(threads=threads, env=env)
        if not run.ok:
            return _report(case, run, "")
        results.append(run.results)
    with suppress(MusetoolsError):
        before = Baseline.load(path).compare(results[0], case.ignore)
    try:
        Baseline.of_runs(results, case.ignore, MEASURED, run.seconds).save(path)
    except MusetoolsError as error:
        return _report(case, run, "", f"no new baseline: {error}")
    changed = _faults(before, shown=5) or "nothing changed beyond its tolerance"
    return _report(case, run, f"new baseline, {changed}", deviations=before)


def _faults(deviations: Sequence[Deviation], shown: int) -> str:
    """Name the first faults and count the others."""
    faults = [f"{deviation.quantity} {deviation.fault}" for deviation in deviations if not deviation.ok]
    more = [f"and {len(faults) - shown} more"] if len(faults) > shown else []
    return "; ".join([*faults[:shown], *more])


def _report(
    case: Case, run: NotebookRun, passed: str, fault: str = "", deviations: Sequence[Deviation] = ()
) -> CaseReport:
    """Report a case; `passed` and `fault` are messages of a run that went well."""
    status, message = (FAILED if fault else run.status, fault or passed) if run.ok else (run.status, run.message)
    return CaseReport(case.name, case.why, status, message, run.output, tuple(deviations), run.seconds)
