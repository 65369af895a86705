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


def test_train_vs_inference_at_25_fps(run):
    result = run("01_train_vs_inference.ipynb")
    assert result["n_rows"] == 602
    assert (result["frames_inference"], result["frames_training"], result["frames_equal"]) == (301, 297, 297)
    assert result["frames_training_lacks"] == [0, 1, 299, 300]
    assert result["frames_unequal"] == 0
    assert result["max_abs_lag_ms"] == pytest.approx(0, abs=1e-9)


def test_train_vs_inference_with_other_parameters(run):
    result = run(
        "01_train_vs_inference.ipynb", audio="data/talker_2997.mp4", fps=29.97, context_left=1, context_right=3
    )
    assert result["frames_inference"] == result["n_rows"] * 30000 // (1001 * 50)
    assert result["frames_equal"] == result["frames_training"] < result["frames_inference"]
    assert 0 < result["max_abs_lag_ms"] <= 40 + 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_clean(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert next(c for c in cells if c.cell_type == "code").metadata.get("tags") == ["parameters"]
    assert "suite.record(" in cells[-1].source


def test_ci_runs_the_test_command_of_the_readme():
    commands = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
