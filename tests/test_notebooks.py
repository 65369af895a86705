"""Notebooks: they run as the README does it, their numbers hold, and they are committed clean."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from books import RECORD, notebook
from nbclient import NotebookClient
from papermill import inspect_notebook

from musetools.lab.record import read_results
from musetools.lab.regression import run_notebook, run_suite, write_reports
from musetools.lab.regression.baselines import Baseline
from musetools.lab.regression.cases import read_cases
from musetools.lab.regression.parameters import declared

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SUITE = ROOT / "notebooks" / "regression.toml"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


QUICK = ("01-v1.5", "02-clip", "04")  # `musetools regress`, which CI runs after the tests, takes minutes for all


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """The quick cases of the suite, run once, with what they recorded."""
    return run_suite(SUITE, only=QUICK, out=tmp_path_factory.mktemp("runs"))


def project(root: Path) -> Path:
    """A project whose suite is one case of a second."""
    for folder in ("notebooks", "data/baselines"):
        (root / folder).mkdir(parents=True)
    notebook(root / "notebooks" / "small.ipynb", f"{RECORD}\nrecord(answer=42)")
    (root / "notebooks" / "regression.toml").write_text('[[case]]\nname = "small"\nnotebook = "small.ipynb"\n')
    Baseline.of_runs([{"answer": 42}], [], "once", 1.0).save(root / "data" / "baselines" / "small.json")
    return root


def test_the_quick_cases_meet_their_baselines(suite):
    assert suite.ok, f"{suite}\n{suite.worst_table()}"
    assert [case.name for case in suite.cases] == list(QUICK)
    assert all(case.deviations for case in suite.cases)


def test_the_suite_runs_the_notebooks_that_the_readme_promises():
    assert {case.notebook.name[:2] for case in read_cases(SUITE)} == {"01", "02", "04", "05", "06", "07"}
    assert ".venv/bin/musetools regress" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_report_is_one_page_that_loads_nothing(suite):
    page = write_reports(suite, suite.folder)
    text = page.read_text(encoding="utf-8")
    assert text.index("Regression suite passed") < text.index("<table")
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=.?(?:https?:)?//", text)
    assert text.count("data:image/png;base64,") > 10
    links = re.findall(r'<a href="([^"]+)#Answer">', text)
    assert len(links) == len(suite.cases)
    for link in links:
        exported = (suite.folder / link.replace("%3D", "=")).read_text(encoding="utf-8")
        assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(?:https?:)?//""", exported)


def test_regression_from_inside_jupyter(tmp_path):
    root = project(tmp_path)
    book = shutil.copy(ROOT / "notebooks" / "03_regression.ipynb", root / "notebooks")
    run = run_notebook(book, root / "03.ipynb", {"only": ""})
    assert run.ok, run
    found = run.results
    assert (found["status"], found["cases"], found["faults"]) == ("passed", {"small": "passed"}, {"small": []})


def test_the_explorer_folds_its_cells_away():
    """It records nothing, for it is for people: what it ends with is the widget."""
    book = nbformat.read(ROOT / "notebooks" / "explore.ipynb", as_version=4)
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in book.cells if cell.cell_type == "code")
    assert book.cells[-1].source.endswith("explorer")


@pytest.mark.skipif(any(map(shutil.which, CHROMIUM)), reason="tests/lab/explore runs it in a browser")
def test_explore_without_a_browser():
    book = nbformat.read(ROOT / "notebooks" / "explore.ipynb", as_version=4)
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    assert "application/vnd.jupyter.widget-view+json" in book.cells[-1].outputs[-1].data


# --- what the suite's own run recorded


@pytest.fixture
def recorded(suite):
    return lambda case: read_results(suite.folder / f"{case}.ipynb")


def test_train_vs_inference_by_default(recorded):
    """v1.5's two sides take the same rows inside a short clip at 25 fps; edges and resampler differ."""
    result = recorded("01-v1.5")
    assert (result["n_rows"], result["frames"], result["frames_shared"]) == (602, [302, 301], 301)
    assert (result["frames_with_other_rows"], result["frames_equal_bit_for_bit"]) == (2, 0)
    assert 0 < max(result["difference_inside"]) < 0.03 < max(result["difference_at_edges"])
    assert result["verdict"] == "same rows, other values"


def test_alignment_by_default(recorded):
    result = recorded("02-clip")
    assert [what for _, what, _ in result["findings"]] == ["drift", "frames lost", "silence"]
    assert abs(result["offset_ms"]) < 10
    assert abs(result["drift_ms_s"]) < 0.3
    assert max(result["click_error_ms"].values()) < 15
    assert round(result["wrong_mel_percent"]["750"], 1) == 4.8
    assert [round(result["wrong_audio_percent"][n], 1) for n in ("800", "1000")] == [4.5, 23.9]


def test_storage_and_loading(recorded):
    result = recorded("04")
    sizes = result["bytes_per_clip"]
    assert sizes["one npy a clip, float32"] > 10 * sizes["16 kHz PCM, 16 bits"]
    assert sizes["chunks, float32"] > 4 * sizes["one npy a clip, float32"]
    assert max(result["float16_error"]) < 0.01
    assert result["batch_shapes"] == [[8, 3, 96, 96], [8, 50, 384]]
    assert all(result["stale_store_refused"].values())


# --- as committed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_clean(path):
    notebook = nbformat.read(path, as_version=4)
    cells = notebook.cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert next(c for c in cells if c.cell_type == "code").metadata.get("tags") == ["parameters"]
    types = {name: found["inferred_type_name"].split("[")[0] for name, found in inspect_notebook(path).items()}
    assert types == {name: type(default).__name__ for name, default in declared(notebook).items()}  # papermill's help
    assert "record(" in cells[-1].source or path.stem == "explore"
    assert notebook.metadata.kernelspec.name == "python3"
    assert not any("mkdtemp" in cell.source for cell in cells)  # `TemporaryDirectory` goes with the kernel
