"""The regression suite sees each fault that it is there for: a package with one line changed turns its case red."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from books import notebook

import musetools
from musetools.lab.regression import CaseReport, run_notebook, run_suite
from musetools.lab.regression.baselines import Baseline
from musetools.lab.regression.runner import FAILED

PACKAGE = Path(musetools.__file__).parent
# One small notebook that records what the large ones do, of one copy of the package after the other.
CANARY = (
    """
import sys
import tempfile
import numpy as np

def chunks(mt):
    from musetools.lab.difference import lag_table
    features = np.sin(np.arange(50 * 5 * 384, dtype=np.float32)).reshape(50, 5, 384)
    made, recipe = mt.feature2chunks(features, 29.97), mt.RECIPES["musetalk-v1.5-infer"]
    return {
        "ends": np.stack([made[0][:, ::16], made[-1][:, ::16]]),
        "inside": made[10][:, ::16],
        "given": recipe.model_input(recipe.chunks(features, 16000, 25), 10)[:, ::16],
        "lags": {name: [profile.lag_text() for profile in lags] for name, lags in lag_table().recipes.items()},
    }

def features(mt):
    sound = np.random.default_rng(0).normal(size=32_000).astype(np.float32) / 10
    sound[:16_000] /= 1e5
    seconds = mt.EncoderWindow(0, 1, 0, None)
    whisper, other = (mt.load_encoder("untrained-tiny", dtype=dtype) for dtype in ("float32", "bfloat16"))
    store = mt.FeatureStore.create(tempfile.mkdtemp() + "/store", mt.FeatureSpec(window=seconds), whisper)
    try:
        refused = not store.add("stale", (sound, 16_000), other)
    except mt.StoreError:
        refused = True
    rows, file_peak = (
        mt.audio2feat((sound, 16_000), whisper, spec=mt.FeatureSpec(mel_peak=peak, window=seconds))[::10, :, ::16]
        for peak in ("window", "file")
    )
    return {"rows": rows, "file_peak": file_peak, "stale_refused": refused}
""",
    """
found = {}
for name, (package, measured) in packages.items():
    for module in [module for module in sys.modules if module.split(".")[0] == "musetools"]:
        del sys.modules[module]
    sys.path.insert(0, package)
    import musetools
    assert musetools.__file__.startswith(package)
    found |= {f"{name}_{quantity}": value for quantity, value in globals()[measured](musetools).items()}
""",
    """
from musetools.lab.record import record
record(**found)
""",
)


@dataclass(frozen=True)
class Mutation:
    """One line of the package changed, what is measured of it, and the quantity that must turn red."""

    module: str
    old: str
    new: str
    measured: str
    quantity: str


MUTATIONS = {
    "an off-by-one in chunk_rows": Mutation(
        "chunks/rows.py",
        "return frame_start(frames, fps, ROW_RATE)[..., None] + chunk_offsets(context)",
        "return frame_start(frames, fps, ROW_RATE)[..., None] + 1 + chunk_offsets(context)",
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
        "self._length].reshape(self.chunk_shape)",
        "self.rows.shape[1]].swapaxes(0, 1).reshape(self.chunk_shape)",
        "chunks",
        "inside",
    ),
    "no positional encoding": Mutation(
        "recipes/recipe.py",
        "return (chunks + sinusoids(*chunks.shape[-2:])).astype",
        "return chunks.astype",
        "chunks",
        "given",
    ),
    "the mel floor from each window instead of the file": Mutation(
        "features/extract.py",
        "w.log_mel.max() if w.peak is None else w.peak",
        "w.log_mel.max()",
        "features",
        "file_peak",
    ),
    "float16 for float32": Mutation(
        "features/extract.py",
        "else rows.clone()).numpy()",
        'else rows.clone()).numpy().astype("float16")',
        "features",
        "rows",
    ),
    "another seed": Mutation("features/weights.py", "seed: int = 0)", "seed: int = 1)", "features", "rows"),
    "a stale store that is taken": Mutation(
        "train/store.py",
        'if other := differing(self.provenance, provenance, "in the store", "now"):',
        "if other := []:",
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

MEASURED = ("chunks", "features")


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


def slug(name: str) -> str:
    return re.sub(r"\W", "_", name)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> CaseReport:
    """A suite of the canary alone, whose baseline was made with the package as it is."""
    root = tmp_path_factory.mktemp("canary")
    book = notebook(root / "canary.ipynb", *CANARY, parameters="packages = {}")
    as_it_is = {measured: (str(copied(root / "copies" / measured, None)), measured) for measured in MEASURED}
    run = run_notebook(book, root / "out.ipynb", {"packages": as_it_is}, threads=1)
    assert run.ok, run
    packages, results = dict(as_it_is), dict(run.results)
    for name, mutation in MUTATIONS.items():
        packages[slug(name)] = str(copied(root / "copies" / slug(name), mutation)), mutation.measured
        of = {quantity: value for quantity, value in run.results.items() if quantity.startswith(mutation.measured)}
        results |= {quantity.replace(mutation.measured, slug(name), 1): value for quantity, value in of.items()}
    Baseline.of_runs([results], [], "once", run.seconds).save(root / "canary.json")
    given = json.dumps({name: list(each) for name, each in packages.items()}).replace(": ", " = ")
    suite = f'[[case]]\nname = "canary"\nnotebook = "canary.ipynb"\nparameters.packages = {given}\n'
    (root / "suite.toml").write_text(suite, encoding="utf-8")
    return run_suite(root / "suite.toml", out=root / "runs", baselines=root, jobs=1).cases[0]


def faults_of(report: CaseReport, name: str) -> dict[str, str]:
    """What deviates of one copy's quantities."""
    found = {d.quantity.removeprefix(f"{name}_"): d for d in report.deviations if d.quantity.startswith(f"{name}_")}
    assert found
    return {quantity: deviation.fault for quantity, deviation in found.items() if not deviation.ok}


@pytest.mark.parametrize("measured", MEASURED)
def test_the_package_as_it_is_passes(report, measured):
    assert faults_of(report, measured) == {}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_suite_turns_red(report, name):
    assert report.status == FAILED, report.message
    faults = faults_of(report, slug(name))
    assert MUTATIONS[name].quantity in faults, faults
    assert "is missing" not in faults.values()
