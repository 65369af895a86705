"""Notebooks: they run under papermill, leave results whose numbers hold, and are committed clean."""

import re
from pathlib import Path

import nbformat
import papermill
import pytest

from musetools.lab.suite import RESULT_MIME

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Execute a notebook as the README does, from the project's root, and return its result record."""
    monkeypatch.chdir(ROOT)

    def execute(name: str, **parameters) -> dict:
        out = tmp_path / name
        papermill.execute_notebook(ROOT / "notebooks" / name, out, parameters, progress_bar=False)
        outputs = nbformat.read(out, as_version=4).cells[-1].outputs
        return next(o.data[RESULT_MIME] for o in outputs if RESULT_MIME in o.get("data", {}))

    return execute


def test_train_vs_inference_by_default(run):
    """v1.5's two sides take the same rows inside a short clip at 25 fps; edges and resampler differ."""
    result = run("01_train_vs_inference.ipynb")
    assert (result["n_rows"], result["frames"], result["frames_shared"]) == (602, [302, 301], 301)
    assert (result["frames_with_other_rows"], result["frames_equal_bit_for_bit"]) == (2, 0)
    assert 0 < max(result["difference_inside"]) < 0.01 < max(result["difference_at_edges"])
    assert result["verdict"] == "same rows, other values"
    lags = result["lag_over_a_minute"]
    assert lags["musetalk-v1.5-infer"][:5] == ["0", "−40…−58", "−40, drift +42 ms/s", "0, drift +33 ms/s", "0…−13"]
    assert lags["musetalk-v1.5-infer"][5:] == ["stops", "stops", "−40…−50", "−80…−93"]


def test_train_vs_inference_with_other_parameters(run):
    recipes = {"train_recipe": "musetalk-v1-train", "infer_recipe": "musetalk-v1-infer"}
    result = run("01_train_vs_inference.ipynb", audio="data/talker_25.mp4", context_left=1, context_right=3, **recipes)
    assert result["frames_equal_bit_for_bit"] == result["frames_shared"] == result["frames"][0]
    assert result["verdict"] == "alike but for edges"


def test_alignment_by_default(run):
    result = run("02_alignment.ipynb")
    assert [what for _, what, _ in result["findings"]] == ["drift", "frames lost", "silence"]
    assert abs(result["offset_ms"]) < 10
    assert abs(result["drift_ms_s"]) < 0.2
    assert max(result["click_error_ms"].values()) < 10
    assert round(result["wrong_mel_percent"]["750"], 1) == 4.8
    assert [round(result["wrong_audio_percent"][n], 1) for n in ("800", "1000")] == [4.5, 23.9]


def test_alignment_of_a_folder(run):
    result = run("02_alignment.ipynb", clip="data", recipe="musetools", openings="")
    assert (result["clips"], result["errors"], result["offset_ms"]) == (6, 0, None)


def test_storage_and_loading(run):
    result = run("04_storage_and_loading.ipynb", clips=2, seconds=10.0, samples=400)
    sizes = result["bytes_per_clip"]
    assert sizes["one npy a clip, float32"] > 10 * sizes["16 kHz PCM, 16 bits"]
    assert sizes["chunks, float32"] > 4 * sizes["one npy a clip, float32"]
    assert max(result["float16_error"]) < 0.01
    assert result["batch_shapes"] == [[8, 3, 96, 96], [8, 50, 384]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_clean(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert next(c for c in cells if c.cell_type == "code").metadata.get("tags") == ["parameters"]
    assert "suite.record(" in cells[-1].source


def test_readme_runs_every_notebook():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{path.name} runs/{path.name}" in readme for path in NOTEBOOKS)


def test_ci_runs_the_test_command_of_the_readme():
    commands = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
