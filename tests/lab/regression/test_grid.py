"""`musetools run`: one notebook over files and values; nothing starts unless every run can be started."""

from pathlib import Path

import pytest
from books import RECORD, notebook
from click.testing import CliRunner

from musetools import ParameterError
from musetools.cli import main
from musetools.lab.regression import grid
from musetools.lab.regression.grid import run_grid
from musetools.lab.regression.runner import FAILED, PASSED, NotebookRun

PARAMETERS = 'audio = "data/a.mp4"\nfps = 25.0\nlags = [0.1]\ncosts = True\nlimit = None'
CLIPS = ("一.mp4", "b.mp4", "c {0}.mp4", "d.mp4")


@pytest.fixture
def book(tmp_path, monkeypatch) -> Path:
    """A notebook in another folder than the one that one works in, where clips are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    for name in CLIPS:
        (tmp_path / name).touch()
    return notebook(tmp_path / "notebooks" / "n.ipynb", f"{RECORD}\nrecord(twice=2 * fps)", parameters=PARAMETERS)


@pytest.fixture
def ran(monkeypatch) -> list[dict]:
    """Parameters of each run; those at 50 fps fail."""
    given = []

    def run(path, output, parameters, **_):
        given.append({**parameters, "output": output.name})
        status = FAILED if parameters.get("fps") == 50 else PASSED
        return NotebookRun(path, status, "boom", output, {"twice": 2.0}, 0.1)

    monkeypatch.setattr(grid, "run_notebook", run)
    return given


def run(*given: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["run", *map(str, given)])
    assert result.exit_code == code, result.output
    return result.stdout if code < 2 else result.output


def test_two_clips_at_two_rates(book, ran):
    text = run(book, "--over", "audio", *CLIPS[::2], "--over", "fps", 25, 29.97, "--show", "twice")
    head, *rows, summary = text[text.index("audio ") :].splitlines()
    assert head.split()[:5] == ["audio", "fps", "status", "time", "twice"]
    assert [row.split()[-1].rsplit("-fps=")[-1] for row in rows] == ["25.ipynb", "29.97.ipynb"] * 2
    assert [row.startswith(clip) for row, clip in zip(rows[::2], CLIPS[::2], strict=True)] == [True] * 2
    assert summary.startswith("4 cases in ")
    assert summary.endswith(": 4 passed")


def test_two_rates_for_real(book, tmp_path):
    text = run(book, "--over", "audio", CLIPS[2], "--over", "fps", 25, 29.97, "--show", "twice", "--jobs", 2)
    assert [number in row for number, row in zip(("50", "59.94"), text.splitlines()[-3:-1], strict=True)] == [True] * 2
    assert text.splitlines()[-1].endswith(": 2 passed")
    assert len(list((tmp_path / "runs").glob("n-audio=*.ipynb"))) == 2


def test_own_code_is_imported_from_the_working_folder(book, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "also_mine.py").touch()
    (tmp_path / "own_chunks.py").write_text("double = lambda fps: 2 * fps")
    notebook(
        book, f"{RECORD}\nimport also_mine, own_chunks\nrecord(twice=own_chunks.double(fps))", parameters=PARAMETERS
    )
    assert "50.0" in run(book, "--show", "twice")


def test_values_are_of_the_types_that_the_notebook_declares(book, ran, tmp_path):
    run(book, "-p", "lags", "[0.2, 1.0]", "-p", "costs", "false", "-p", "limit", "-3", "-p", "audio", "b.mp4")
    expected = {"lags": [0.2, 1.0], "costs": False, "limit": -3, "audio": str(tmp_path / "b.mp4")}
    assert ran == [{**expected, "output": "n.ipynb"}]
    run(book, "-p", "audio", "data/not here.mp4", "--over", "limit", -1, 2)
    assert [one["audio"] for one in ran[1:]] == ["data/not here.mp4"] * 2
    assert sorted(one["limit"] for one in ran[1:]) == [-1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["-p", "fsp", "25"], "no parameter 'fsp': this notebook has audio, fps, lags, costs, limit"),
        (["--over", "fps", "25", "fast"], "parameter 'fps' must be of type float, not str"),
        (["--over", "audio", *CLIPS, "--over", "fsp", "25", "30"], "no parameter 'fsp'"),
        (["-p", "fps", "nan"], "must be of type float"),
        (["-p", "costs", "1"], "must be of type bool, not int"),
        (["-p", "fps", "25", "--over", "fps", "25", "30"], "fps is given more than once"),
        (["-p", "fps", "25", "-p", "fps", "30"], "fps is given more than once"),
    ],
)
def test_what_cannot_be_run_starts_nothing(book, ran, given, message, tmp_path):
    text = run(book, *given, code=2)
    assert text.startswith("could not run: ")
    assert message in text
    assert not ran
    assert not (tmp_path / "runs").exists()


def test_no_notebook_and_no_values(book, ran):
    assert "is no notebook that can be read" in run("gone.ipynb", code=2)
    assert "--over fps is given no value" in run(book, "--over", "fps", code=2)
    assert "--over fps is given no value" in run(book, "--over", "fps", "-p", "costs", "true", code=2)
    assert not ran


def test_a_run_that_fails_is_a_row_and_an_exit_code(book, ran):
    text = run(book, "--over", "fps", 25, 50, code=1)
    assert [line.split()[:2] for line in text.splitlines()[-3:-1]] == [["25", "passed"], ["50", "failed"]]
    assert "boom" in text.splitlines()[-2]
    assert "1 passed, 1 failed" in text


def test_runs_of_equal_or_long_names_are_numbered(book, ran, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").touch()
    run_grid(book, {}, {"audio": ["x/a.mp4", "y/a.mp4", "b" * 300]}, jobs=1)
    assert [one["output"] for one in ran] == ["n-1.ipynb", "n-2.ipynb", "n-3.ipynb"]


def test_a_value_of_another_kind_is_named(book):
    with pytest.raises(ParameterError, match="must be of type list"):
        run_grid(book, {"lags": "0.2"}, {})
