"""The regression suite sees each fault that it is there for: a package with one line changed turns its case red."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from books import notebook

import musetools
from musetools.lab.regression import CaseReport, run_notebook, run_suite
from musetools.lab.regression.baselines import Baseline
from musetools.lab.regression.runner import FAILED, PASSED

PACKAGE = Path(musetools.__file__).parent
IMPORTS = """
import sys
sys.path.insert(0, package)
import numpy as np
import musetools as mt
from musetools.lab.record import record
assert mt.__file__.startswith(package)
"""
# Two small notebooks that record what the large ones do: one of chunks, which loads no torch, and one of features.
CANARIES = {
    "chunks": (
        """
from musetools.recipes.profile import lag_table
features = np.sin(np.arange(50 * 5 * 384, dtype=np.float32)).reshape(50, 5, 384)
chunks = mt.feature2chunks(features, 29.97)
recipe = mt.RECIPES["musetalk-v1.5-infer"]
""",
        """
record(
    ends=np.stack([chunks[0][:, ::16], chunks[-1][:, ::16]]),
    inside=chunks[10][:, ::16],
    given=recipe.model_input(recipe.chunks(features, 16000, 25), 10)[:, ::16],
    lags={name: [profile.lag_text() for profile in lags] for name, lags in lag_table().recipes.items()},
)
""",
    ),
    "features": (
        """
import tempfile
sound = np.random.default_rng(0).normal(size=32_000).astype(np.float32) / 10
sound[:16_000] /= 1e5
seconds = mt.EncoderWindow(0, 1, 0, None)
whisper, other = (mt.load_encoder("untrained-tiny", dtype=dtype) for dtype in ("float32", "bfloat16"))
store = mt.FeatureStore.create(tempfile.mkdtemp() + "/store", mt.FeatureSpec(window=seconds), whisper)
try:
    refused = not store.add("stale", (sound, 16_000), other)
except mt.StoreError:
    refused = True
""",
        """
rows, file_peak = (
    mt.audio2feat((sound, 16_000), whisper, spec=mt.FeatureSpec(mel_peak=peak, window=seconds))[::10, :, ::16]
    for peak in ("window", "file")
)
record(rows=rows, file_peak=file_peak, stale_refused=refused)
""",
    ),
}


@dataclass(frozen=True)
class Mutation:
    """One line of the package changed, the canary that must turn red, and the quantity that shows it."""

    module: str
    old: str
    new: str
    canary: str
    quantity: str


MUTATIONS = {
    "an off-by-one in chunk_rows": Mutation(
        "chunks/rows.py",
        "return frame_start(frames, fps, ROW_RATE)[..., None] + chunk_offsets(context)",
        "return frame_start(frames, fps, ROW_RATE)[..., None] + chunk_offsets(context) + 1",
        "chunks",
        "ends",
    ),
    "int(fps)": Mutation(
        "chunks/rows.py",
        "frame_start(frames, fps, ROW_RATE)[..., None]",
        "frame_start(frames, int(fps), ROW_RATE)[..., None]",
        "chunks",
        "ends",
    ),
    "the edge rule swapped": Mutation(
        "chunks/rows.py", '    if edge == "clamp":\n', '    if edge != "clamp":\n', "chunks", "ends"
    ),
    "rows and layers swapped": Mutation(
        "chunks/sequence.py",
        "return taken.reshape(*rows.shape[:-1]",
        "return taken.swapaxes(-3, -2).reshape(*rows.shape[:-1]",
        "chunks",
        "ends",
    ),
    "rows and layers swapped in a view": Mutation(
        "chunks/sequence.py",
        "self.rows.shape[1]].reshape(self.chunk_shape)",
        "self.rows.shape[1]].swapaxes(0, 1).reshape(self.chunk_shape)",
        "chunks",
        "inside",
    ),
    "no positional encoding": Mutation(
        "recipes/recipe.py", "return (chunks + positions).astype", "return chunks.astype", "chunks", "given"
    ),
    "the mel floor from each window instead of the file": Mutation(
        "features/extract.py",
        "window.log_mel.max() if peak is None else peak",
        "window.log_mel.max()",
        "features",
        "file_peak",
    ),
    "float16 for float32": Mutation(
        "features/extract.py",
        "window.skip + window.keep].cpu().numpy()",
        'window.skip + window.keep].cpu().numpy().astype("float16")',
        "features",
        "rows",
    ),
    "another seed": Mutation("features/weights.py", "seed: int = 0)", "seed: int = 1)", "features", "rows"),
    "a stale store that is taken": Mutation(
        "train/store.py",
        "if differing := differences(self.provenance, provenance):",
        "if differing := []:",
        "features",
        "stale_refused",
    ),
    "a recipe edited": Mutation(
        "recipes/published.py",
        "cut=partial(cuts.livetalking, centred=False)",
        "cut=partial(cuts.livetalking, centred=True)",
        "chunks",
        "lags/livetalking-0-5",
    ),
}


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


def case_of(name: str) -> str:
    return re.sub(r"\W", "-", name)


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, CaseReport]:
    """One suite: each canary with the package as it is, and each mutation's canary with its own copy."""
    root, suite, baselines = tmp_path_factory.mktemp("canaries"), [], {}
    for canary, cells in CANARIES.items():
        book = notebook(root / f"{canary}.ipynb", IMPORTS, *cells, parameters='package = ""')
        run = run_notebook(book, root / "out.ipynb", {"package": str(PACKAGE.parent)}, threads=1)
        assert run.ok, run
        baselines[canary] = Baseline.of_runs([run.results], [], "once", run.seconds)
    cases = [(canary, canary, None) for canary in CANARIES]
    cases += [(case_of(name), mutation.canary, mutation) for name, mutation in MUTATIONS.items()]
    for name, canary, mutation in cases:
        baselines[canary].save(root / f"{name}.json")
        package = copied(root / "packages" / name, mutation)
        suite.append(f'[[case]]\nname = "{name}"\nnotebook = "{canary}.ipynb"\nparameters.package = "{package}"\n')
    (root / "suite.toml").write_text("".join(suite), encoding="utf-8")
    report = run_suite(root / "suite.toml", out=root / "runs", baselines=root, jobs=2)
    return {case.name: case for case in report.cases}


@pytest.mark.parametrize("canary", CANARIES)
def test_the_package_as_it_is_passes(reports, canary):
    assert reports[canary].status == PASSED, reports[canary].message


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_suite_turns_red(reports, name):
    report = reports[case_of(name)]
    assert report.status == FAILED, report.message
    faults = {deviation.quantity: deviation.fault for deviation in report.deviations if not deviation.ok}
    assert MUTATIONS[name].quantity in faults, faults
    assert "is missing" not in faults.values()
