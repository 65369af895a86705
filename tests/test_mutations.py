"""The regression suite sees each fault that it is there for: a package with one line changed turns a named case red."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from books import RECORD, notebook
from musetools.lab.regression.verdicts import CaseReport, SuiteReport

import musetools
from musetools.lab.regression.runner import FAILED, PASSED, run_notebook

PACKAGE = Path(musetools.__file__).parent
ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / "data" / "baselines"
JOBS = 2
# A process for each, since a suite run has one environment; the suite is found in the folder above, and the kernel
# looks for the package in PYTHONPATH first.
RUN = """
import sys, musetools
from musetools.lab.regression.suite import run_suite
report = run_suite(only=[sys.argv[1]], jobs=1, out=sys.argv[2], baselines=sys.argv[3])
report.save(report.folder / "report.json", report.to_json())
print(musetools.__file__)
"""


@dataclass(frozen=True)
class Mutation:
    """One line of the package changed, the case that must turn red, and the quantity that shows it."""

    module: str
    old: str
    new: str
    case: str
    quantity: str


MUTATIONS = {
    "an off-by-one in chunk_rows": Mutation(
        "chunks/rows.py",
        "return frame_start(frames, fps, ROW_RATE)[:, None] + chunk_offsets(context)",
        "return frame_start(frames, fps, ROW_RATE)[:, None] + chunk_offsets(context) + 1",
        "01-v1.5",
        "given",
    ),
    "int(fps)": Mutation(
        "chunks/rows.py",
        "fps, n_rows = exact_fps(fps), _checked_count",
        "fps, n_rows = exact_fps(int(fps)), _checked_count",
        "01-musetools",
        "given",
    ),
    "the edge rule swapped": Mutation(
        "chunks/rows.py", '    if edge == "clamp":\n', '    if edge != "clamp":\n', "01-v1.5", "canonical_ends"
    ),
    "rows and layers swapped": Mutation(
        "chunks/rows.py",
        "return taken.reshape(*rows.shape[:-1]",
        "return taken.swapaxes(-3, -2).reshape(*rows.shape[:-1]",
        "01-v1.5",
        "canonical_ends",
    ),
    "rows and layers swapped in a view": Mutation(
        "chunks/rows.py",
        "self.rows.shape[1]].reshape(self.chunk_shape)",
        "self.rows.shape[1]].swapaxes(0, 1).reshape(self.chunk_shape)",
        "01-v1.5",
        "given",
    ),
    "no positional encoding": Mutation(
        "recipes/published.py", "return (chunks + positions).astype", "return chunks.astype", "01-v1.5", "given"
    ),
    "the mel floor from each window instead of the file": Mutation(
        "features/extract.py",
        "window.log_mel.max() if peak is None else peak",
        "window.log_mel.max()",
        "01-v1-fps=25.0",
        "given",
    ),
    "float16 for float32": Mutation(
        "features/extract.py",
        "window.skip + window.keep].cpu().numpy()",
        'window.skip + window.keep].cpu().numpy().astype("float16")',
        "01-v1.5",
        "canonical_ends",
    ),
    "another seed": Mutation("features/weights.py", "seed: int = 0)", "seed: int = 1)", "01-v1.5", "given"),
    "a stale store that is taken": Mutation(
        "train/store.py",
        "if differing := differences(self.provenance, provenance):",
        "if differing := []:",
        "04",
        "stale_store_refused/a clip by another encoder",
    ),
    "a recipe edited": Mutation(
        "recipes/published.py",
        "cut=partial(cuts.livetalking, centred=False)",
        "cut=partial(cuts.livetalking, centred=True)",
        "01-v1.5",
        "lag_over_a_minute/livetalking-0-5",
    ),
}


UNCHANGED = "nothing"


def copied(folder: Path, mutation: Mutation | None) -> Path:
    """Copy the package, compiled modules too, and change the copy."""
    shutil.copytree(PACKAGE, folder / "musetools")
    if mutation:
        path = folder / "musetools" / mutation.module
        text = path.read_text(encoding="utf-8")
        found = text.count(mutation.old)
        assert found == 1, f"{mutation.old!r} stands {found} times in {path.name}: name the line as it is now"
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def reports(request, tmp_path_factory):
    """Start the runs of all chosen tests, two at a time, each in an environment of its own; give what comes of them."""

    def run(name: str) -> CaseReport:
        mutation = MUTATIONS.get(name)
        folder = copied(tmp_path_factory.mktemp("mutated"), mutation)
        case = mutation.case if mutation else "01-v1.5"
        command = [sys.executable, "-P", "-c", RUN, case, folder / "out", BASELINES]
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[-1] == str(folder / "musetools" / "__init__.py"), "another package was imported"
        return SuiteReport.load(folder / "out" / "report.json").cases[0]

    with ThreadPoolExecutor(JOBS) as pool:
        here = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
        names = [params["mutation"] for params in here if "mutation" in params]
        yield {name: pool.submit(run, name) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("mutation", [UNCHANGED])
def test_the_package_as_it_is_passes(reports, mutation):
    report = reports[mutation].result()
    assert report.verdict == PASSED, report.sentence


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_suite_turns_red(reports, mutation):
    report, expected = reports[mutation].result(), MUTATIONS[mutation]
    assert report.name == expected.case
    assert report.verdict == FAILED, report.sentence
    faults = {deviation.quantity: deviation.fault for deviation in report.deviations if not deviation.ok}
    assert expected.quantity in faults, faults
    assert "is missing" not in faults.values()


def test_a_kernel_imports_the_copy(tmp_path):
    copied(tmp_path, None)
    book = notebook(tmp_path / "n.ipynb", f"import musetools\n{RECORD}\nrecord(at=musetools.__file__)")
    run = run_notebook(book, tmp_path / "out.ipynb", env={"PYTHONPATH": str(tmp_path)})
    assert run.results == {"at": str(tmp_path / "musetools" / "__init__.py")}, run
