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

import musetools
from musetools.lab.regression import CaseReport, SuiteReport, run_notebook
from musetools.lab.regression.baselines import Baseline
from musetools.lab.regression.runner import FAILED, PASSED

PACKAGE = Path(musetools.__file__).parent
ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / "data" / "baselines"
JOBS = 2
SUITE = ROOT / "notebooks" / "regression.toml"
# What notebooks 01 and 04 record, of little audio: one kernel of four seconds instead of a whole case.
CANARY = f"""
import tempfile
from pathlib import Path
import numpy as np
import musetools as mt
from musetools.lab.difference import lag_table
from musetools.lab.storage.measure import stale_refusals
{RECORD}
sound = np.random.default_rng(0).normal(size=32 * 16000) * 0.1
sound[: 30 * 16000] /= 100
sound = sound.astype(np.float32)
whisper, folder = mt.load_encoder("untrained-tiny"), Path(tempfile.mkdtemp())
rows = mt.audio2feat((sound[:16000], 16000), whisper)
chunks = mt.feature2chunks(rows, 29.97)
v1 = mt.audio2feat((sound, 16000), whisper, spec="musetalk-v1")
recipe = mt.RECIPES["musetalk-v1.5-infer"]
store = mt.FeatureStore.create(folder / "store", "musetools", whisper)
stale = stale_refusals(store, (sound[:16000], 16000), mt.load_encoder("untrained-tiny", dtype="bfloat16"), folder / "s")
record(
    rows=rows[::10, :, ::16],
    v1=v1[::100, :, ::16],
    ends=np.stack([chunks[0][:, ::16], chunks[-1][:, ::16]]),
    inside=chunks[10][:, ::16],
    given=recipe.model_input(recipe.chunks(rows, 16000, 25), 10)[:, ::16],
    stale={{name: bool(refusal) for name, refusal in stale.items()}},
    lags={{name: [p.lag_text() for p in lags] for name, lags in lag_table().recipes.items()}},
)
"""
# A process for each, since a suite run has one environment; the suite is found in the folder above, and the kernel
# looks for the package in PYTHONPATH first.
RUN = """
import sys, musetools
from musetools.lab.regression import run_suite, write_reports
report = run_suite(sys.argv[4], only=[sys.argv[1]], jobs=1, out=sys.argv[2], baselines=sys.argv[3])
write_reports(report, report.folder)
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
        "return frame_start(frames, fps, ROW_RATE)[..., None] + chunk_offsets(context)",
        "return frame_start(frames, fps, ROW_RATE)[..., None] + chunk_offsets(context) + 1",
        "01-v1.5",
        "given",
    ),
    "int(fps)": Mutation(
        "chunks/rows.py",
        "frame_start(frames, fps, ROW_RATE)[..., None]",
        "frame_start(frames, int(fps), ROW_RATE)[..., None]",
        "canary",
        "ends",
    ),
    "the edge rule swapped": Mutation(
        "chunks/rows.py", '    if edge == "clamp":\n', '    if edge != "clamp":\n', "canary", "ends"
    ),
    "rows and layers swapped": Mutation(
        "chunks/sequence.py",
        "return taken.reshape(*rows.shape[:-1]",
        "return taken.swapaxes(-3, -2).reshape(*rows.shape[:-1]",
        "canary",
        "ends",
    ),
    "rows and layers swapped in a view": Mutation(
        "chunks/sequence.py",
        "self.rows.shape[1]].reshape(self.chunk_shape)",
        "self.rows.shape[1]].swapaxes(0, 1).reshape(self.chunk_shape)",
        "canary",
        "inside",
    ),
    "no positional encoding": Mutation(
        "recipes/recipe.py", "return (chunks + positions).astype", "return chunks.astype", "canary", "given"
    ),
    "the mel floor from each window instead of the file": Mutation(
        "features/extract.py",
        "window.log_mel.max() if peak is None else peak",
        "window.log_mel.max()",
        "canary",
        "v1",
    ),
    "float16 for float32": Mutation(
        "features/extract.py",
        "window.skip + window.keep].cpu().numpy()",
        'window.skip + window.keep].cpu().numpy().astype("float16")',
        "canary",
        "rows",
    ),
    "another seed": Mutation("features/weights.py", "seed: int = 0)", "seed: int = 1)", "canary", "rows"),
    "a stale store that is taken": Mutation(
        "train/store.py",
        "if differing := differences(self.provenance, provenance):",
        "if differing := []:",
        "canary",
        "stale/a clip by another encoder",
    ),
    "a recipe edited": Mutation(
        "recipes/published.py",
        "cut=partial(cuts.livetalking, centred=False)",
        "cut=partial(cuts.livetalking, centred=True)",
        "canary",
        "lags/livetalking-0-5",
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
def canary(tmp_path_factory) -> Path:
    """A suite of one small case, with a baseline of the package as it is."""
    root = tmp_path_factory.mktemp("canary")
    book = notebook(root / "canary.ipynb", CANARY)
    (root / "suite.toml").write_text('[[case]]\nname = "canary"\nnotebook = "canary.ipynb"\n')
    run = run_notebook(book, root / "out.ipynb", threads=1)
    assert run.ok, run
    Baseline.of_runs([run.results], [], "once", run.seconds).save(root / "canary.json")
    return root


@pytest.fixture(scope="module")
def reports(request, canary, tmp_path_factory):
    """Start the runs of all chosen tests, two at a time, each in an environment of its own; give what comes of them."""

    def run(name: str) -> CaseReport:
        mutation = MUTATIONS.get(name)
        folder = copied(tmp_path_factory.mktemp("mutated"), mutation)
        case = mutation.case if mutation else "canary"
        suite, baselines = (canary / "suite.toml", canary) if case == "canary" else (SUITE, BASELINES)
        command = [sys.executable, "-P", "-c", RUN, case, folder / "out", baselines, suite]
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
    assert report.status == PASSED, report.message


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_suite_turns_red(reports, mutation):
    report, expected = reports[mutation].result(), MUTATIONS[mutation]
    assert report.name == expected.case
    assert report.status == FAILED, report.message
    faults = {deviation.quantity: deviation.fault for deviation in report.deviations if not deviation.ok}
    assert expected.quantity in faults, faults
    assert "is missing" not in faults.values()


def test_a_kernel_imports_the_copy(tmp_path):
    copied(tmp_path, None)
    book = notebook(tmp_path / "n.ipynb", f"import musetools\n{RECORD}\nrecord(at=musetools.__file__)")
    run = run_notebook(book, tmp_path / "out.ipynb", env={"PYTHONPATH": str(tmp_path)})
    assert run.results == {"at": str(tmp_path / "musetools" / "__init__.py")}, run
