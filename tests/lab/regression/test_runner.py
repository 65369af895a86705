"""run_notebook: a reliable status, whatever a notebook does, and earlier good results that survive it."""

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from books import RECORD, contents, end, family, notebook, temporary
from waiting import wait_for

from musetools.lab.record import RESULT_MIME, read_results
from musetools.lab.regression import runner
from musetools.lab.regression.execute import EXECUTED
from musetools.lab.regression.runner import COULD_NOT_RUN, FAILED, PASSED, run_notebook

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
GOOD = f"import numpy as np\n{RECORD}\nrecord(answer=42, rows=np.arange(200.0))"
ORPHANS = """
import subprocess, tempfile
tempfile.mkdtemp()  # which nobody removes
subprocess.Popen(["sleep", "600"])
subprocess.Popen(["sleep", "601"], start_new_session=True)
subprocess.run(["sh", "-c", "sleep 602 > /dev/null 2>&1 &"])  # its parent is gone: it descends from nobody
"""
STUBBORN = """
import ctypes, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
open("../started", "w").close()
ctypes.PyDLL(None).sleep(600)  # the interpreter's lock is kept
"""


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """A folder `runs` that holds an earlier good run; after the test it must be unchanged, with nothing else left."""
    folder, others = tmp_path / "runs", tmp_path / "temporary files of all"
    folder.mkdir()
    others.mkdir()
    monkeypatch.setenv("TMPDIR", str(others))
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that it is asked for again
    notebook(folder / "out.ipynb", GOOD)
    before = contents(folder)
    yield folder
    kept = contents(folder)
    failed = kept.pop("out.failed.ipynb", None)
    assert failed is None or nbformat.reads(failed.decode(), as_version=4).cells
    assert kept == before
    assert not temporary(folder)
    check_no_process(folder)
    assert not list(others.iterdir())


def check_no_process(folder: Path) -> None:
    alive = family(folder)
    end(alive)
    assert not alive


def failing(earlier: Path, *cells: str, timeout_s: float = 60, **others):
    """Run cells to the earlier run's name, see that they fail, and return the run."""
    run = run_notebook(
        notebook(earlier.parent / "bad.ipynb", *cells, **others), earlier / "out.ipynb", timeout_s=timeout_s
    )
    assert run.status in (FAILED, COULD_NOT_RUN)
    assert not run.ok
    assert run.results == {}
    assert run.output in (None, earlier / "out.failed.ipynb")
    assert len(run.message) > 20
    assert run.status in repr(run)
    assert "bad.ipynb" in run._repr_html_()
    return run


# --- what passes


VALUES = {
    "text": "00123",
    "quoted": "\"'; open('/tmp/never', 'w') #\n\\n {0} é 日本",
    "yes": False,
    "n": -7,
    "x": 3,
    "ratio": 1e-300,
    "many": [1.5, 2],
    "nested": [["a"], []],
    "anything": "now a text",
    "nothing": None,
}
DEFAULTS = """
text = "1"  # comment
quoted = ""
yes = True
n = 1  # m
x = 0.5
ratio = 1.0
many = [0.5]
nested = [["b"]]
anything = None
nothing = None
untouched = -3
"""


def test_parameters_arrive_as_they_were_given_in_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "a {b} é $HOME %s [0]"
    folder.mkdir()
    names = ", ".join(f"{name}={name}" for name in (*VALUES, "untouched"))
    book = notebook(folder / "n {0} é.ipynb", f"{RECORD}\nrecord({names})", parameters=DEFAULTS)
    run = run_notebook(book, folder / "o {0} [1] é.ipynb", VALUES)
    assert run.status == PASSED, run
    assert run.results == {**VALUES, "untouched": -3}
    assert [type(run.results[name]) for name in VALUES] == [type(value) for value in VALUES.values()]
    assert sorted(path.name for path in folder.iterdir()) == [
        "n {0} é.ipynb",
        "o {0} [1] é.ipynb",
    ]


@linux
def test_a_good_run_leaves_its_results_in_its_notebook_and_nothing_else(tmp_path):
    run = run_notebook(notebook(tmp_path / "good.ipynb", ORPHANS, GOOD), tmp_path / "out.ipynb")
    assert run.status == PASSED, run
    results = read_results(tmp_path / "out.ipynb")
    assert results["answer"] == 42
    np.testing.assert_array_equal(results["rows"], np.arange(200.0))
    assert sorted(contents(tmp_path)) == ["good.ipynb", "out.ipynb"]
    check_no_process(tmp_path)


def test_a_good_run_replaces_an_earlier_one_and_what_is_left_of_a_failed_one(tmp_path, monkeypatch):
    """Where one works lies a module that is named as one of Python's own."""
    folder, work = tmp_path / "runs", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    (work / "queue.py").write_text("raise RuntimeError('a file of the working folder')")
    monkeypatch.chdir(work)
    for name in ("out.ipynb", "out.failed.ipynb"):
        (folder / name).write_text("{}")
    own = "answer=43, threads=os.environ['OMP_NUM_THREADS'], own=os.environ['OWN'], at=os.getcwd()"
    book = notebook(tmp_path / "new.ipynb", f"import os\n{RECORD}\nrecord({own})")
    run = run_notebook(book, folder / "out.ipynb", threads=3, env={"OWN": "a b"})
    assert run.results == {"answer": 43, "threads": "3", "own": "a b", "at": str(tmp_path)}, run
    assert sorted(contents(folder)) == ["out.ipynb"]


# --- cells that end a run

ENDINGS = {
    "a kernel that is killed": ((f"{ORPHANS}\nimport os; os.kill(os.getpid(), 9)", GOOD), "its kernel died"),
    "an exception": (("raise ValueError('5 < 6 é')", GOOD), "ValueError: 5 < 6 é (the last cell that started: 'c0')"),
    "an exit after the record": ((f"{GOOD}\nimport sys; sys.exit(0)\nassert False",), "stopped before its end"),
    "no record": ((GOOD, "1 + 1"), "records nothing"),
}


@linux
@pytest.mark.parametrize(("cells", "sentence"), ENDINGS.values(), ids=ENDINGS)
def test_a_run_that_ends_early(earlier, cells, sentence):
    run = failing(earlier, *cells)
    assert run.status == FAILED
    assert sentence in run.message
    assert "the last cell that started: 'c" in run.message


# --- cells that hang


@linux
def test_a_cell_that_hangs_and_will_not_be_interrupted(earlier):
    run = failing(earlier, ORPHANS + STUBBORN, GOOD, timeout_s=5)
    assert run.status == FAILED
    assert "still running after 5 s" in run.message


# --- notebooks that cannot be run


@pytest.fixture
def no_kernel(monkeypatch):
    """Any process that is started is a failure."""

    def started(*args, **others):
        pytest.fail(f"a process was started: {args}")

    monkeypatch.setattr(subprocess, "Popen", started)


def refused(earlier, book, parameters=None) -> str:
    run = run_notebook(book, earlier / "out.ipynb", parameters)
    assert (run.status, run.output, run.results) == (COULD_NOT_RUN, None, {})
    return run.message


NO_NOTEBOOKS = {
    "nothing": b"",
    "text": b"hello",
    "bytes": b"\xff\xfe\x00\x80",
    "null": b"null",
    "no cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "cells that are none": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}, 5]}',
    "cells of another type": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 7}',
    "from the future": b'{"nbformat": 99, "nbformat_minor": 0, "metadata": {}, "cells": []}',
    "half": b'{"cells": [{"cell_type": "code", "sour',
}


@pytest.mark.parametrize("content", NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
@pytest.mark.filterwarnings("default")
def test_a_file_that_is_no_notebook(earlier, no_kernel, content):
    book = earlier.parent / "bad.ipynb"
    book.write_bytes(content)
    assert str(book) in refused(earlier, book)


def test_a_notebook_that_is_not_there(earlier, no_kernel):
    assert "gone.ipynb" in refused(earlier, earlier.parent / "gone.ipynb")
    assert "can be read" in refused(earlier, earlier.parent)


PARAMETER_CELLS = {
    "none": (None, "has 0"),
    "a call": ("a = int('3')", "a = int('3')"),
    "a set of a list": ("a = {1, [2]}", "a = {1, [2]}"),
    "very deep": (f"a = {'-' * 20_000}1", "a = ---"),
    "# in a text": ('a = "b#c"', "without # in a text"),
}


@pytest.mark.parametrize(("cell", "sentence"), PARAMETER_CELLS.values(), ids=PARAMETER_CELLS)
def test_a_parameters_cell_that_declares_nothing(earlier, no_kernel, cell, sentence):
    assert sentence in refused(earlier, notebook(earlier.parent / "bad.ipynb", GOOD, parameters=cell))


def test_two_parameters_cells(earlier, no_kernel):
    book = notebook(earlier.parent / "bad.ipynb", GOOD)
    twice = nbformat.read(book, as_version=4)
    twice.cells.append(nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}))
    nbformat.write(twice, book)
    assert "has 2" in refused(earlier, book)


def test_a_kernel_that_does_not_exist(earlier, no_kernel):
    book = notebook(earlier.parent / "bad.ipynb", GOOD, kernel="no-such-kernel")
    assert "no-such-kernel" in refused(earlier, book)


# --- parameters that are refused

DECLARED = 'text = "a"\nn = 3\nx = 0.5\nyes = True\nmany = [1]\nnested = [["a"]]'
REFUSED = {
    "a typo": ({"txet": "b"}, "no parameter 'txet': this notebook has text, n, x, yes, many, nested"),
    "a name in other letters": ({"Text": "b"}, "no parameter 'Text'"),
    "a name that is no text": ({3: "b"}, "no parameter 3"),
    "bool for int": ({"n": True}, "must be of type int"),
    "bool for float": ({"x": True}, "must be of type float"),
    "int for bool": ({"yes": 1}, "must be of type bool"),
    "float for int": ({"n": 3.0}, "must be of type int"),
    "text for int": ({"n": "3"}, "must be of type int"),
    "int for text": ({"text": 123}, "must be of type str"),
    "text for list": ({"many": "1"}, "must be of type list"),
    "another type in a list": ({"many": [1, "2"]}, "must be of type int"),
    "bool in a list": ({"many": [1, True]}, "must be of type int"),
    "another type in a nested list": ({"nested": [["a"], [1]]}, "must be of type str"),
    "NaN": ({"x": float("nan")}, "finite"),
    "infinity": ({"x": float("inf")}, "finite"),
    "NaN in a list": ({"many": [1, float("nan")]}, "finite"),
    "numpy float": ({"x": np.float64(0.5)}, "must be of type float, not float64"),
    "array": ({"many": np.arange(3)}, "ndarray"),
    "tuple": ({"many": (1, 2)}, "must be of type list, not tuple"),
    "path": ({"text": Path("a")}, "Path"),
    "half a letter": ({"text": "\ud800"}, "surrogates"),
    "set in a list": ({"many": [{1}]}, "set"),
}


@pytest.mark.parametrize(("given", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_parameter_is_refused_before_a_kernel_starts(earlier, no_kernel, given, sentence):
    message = refused(earlier, notebook(earlier.parent / "bad.ipynb", GOOD, parameters=DECLARED), given)
    assert sentence in message
    assert str(next(iter(given))) in message


def test_a_number_that_is_too_long_to_write(earlier, no_kernel):
    book = notebook(earlier.parent / "b.ipynb", GOOD, parameters=DECLARED)
    assert "'n'" in refused(earlier, book, {"n": 10**5000})


@pytest.mark.parametrize("name", ["n = open({!r}, 'w'); m", "n\nopen({!r}, 'w')\nm", "__import__('os').mkdir({!r}); n"])
def test_a_name_that_carries_code(earlier, no_kernel, name):
    sentinel = earlier.parent / "ran"
    book = notebook(earlier.parent / "bad.ipynb", GOOD, parameters=DECLARED)
    assert "no parameter" in refused(earlier, book, {name.format(str(sentinel)): 1})
    assert not sentinel.exists()


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 10**400, "10"])
def test_a_time_limit_that_is_none(earlier, no_kernel, timeout_s):
    book = notebook(earlier.parent / "bad.ipynb", GOOD)
    run = run_notebook(book, earlier / "out.ipynb", timeout_s=timeout_s)
    assert run.status == COULD_NOT_RUN
    assert len(run.message) > 20


# --- outputs that cannot be written


@pytest.mark.parametrize("where", ["a file/out.ipynb", "gone/out.ipynb", "/proc/out.ipynb"])
def test_a_folder_that_cannot_be_written_to(tmp_path, no_kernel, where):
    (tmp_path / "a file").write_text("here")
    run = run_notebook(notebook(tmp_path / "n.ipynb", GOOD), tmp_path / where)
    assert run.status == COULD_NOT_RUN
    assert str((tmp_path / where).parent) in run.message
    assert sorted(contents(tmp_path)) == ["a file", "n.ipynb"]


@pytest.mark.parametrize("name", ["out", "out.json", "out.v2", ".ipynb", "/"])
def test_an_output_that_is_not_named_as_a_notebook(tmp_path, no_kernel, name):
    run = run_notebook(notebook(tmp_path / "n.ipynb", GOOD), tmp_path / name)
    assert run.status == COULD_NOT_RUN
    assert ".ipynb" in run.message


@pytest.mark.parametrize("name", ["n.ipynb", "n.failed.ipynb"])
def test_an_output_that_would_replace_the_notebook_itself(tmp_path, no_kernel, name):
    before = notebook(tmp_path / name, GOOD).read_bytes()
    run = run_notebook(tmp_path / name, tmp_path / "n.ipynb")
    assert run.status == COULD_NOT_RUN
    assert "would replace or remove its own notebook" in run.message
    assert (tmp_path / name).read_bytes() == before


def test_an_output_whose_name_is_a_folder(tmp_path, monkeypatch):
    """The run passes; only then its output cannot be written."""
    shown = nbformat.v4.new_output("display_data", {RESULT_MIME: {"answer": 43}})

    def passed(folder: Path, *_) -> None:
        nbformat.write(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[shown])]), folder / EXECUTED
        )

    monkeypatch.setattr(runner, "_execute", passed)
    (tmp_path / "out.ipynb").mkdir()
    run = run_notebook(notebook(tmp_path / "n.ipynb", GOOD), tmp_path / "out.ipynb")
    assert run.status == FAILED
    assert re.search("cannot write .*out.ipynb", run.message)
    assert sorted(contents(tmp_path)) == ["n.ipynb", "out.failed.ipynb"]
    assert not temporary(tmp_path)


LIMITED = """
import resource, sys
from musetools.lab.regression.runner import run_notebook
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
run = run_notebook(sys.argv[1], sys.argv[2])
print(run.status, ascii(run.message))
"""


@linux
def test_a_disk_that_is_full(earlier):
    book = notebook(earlier.parent / "bad.ipynb", f"import numpy as np\n{RECORD}\nrecord(x=np.zeros(100_000))")
    command = [sys.executable, "-c", LIMITED, book, earlier / "out.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("failed ")
    assert "File too large" in done.stdout


# --- a runner that is killed

RUN = "import sys; from musetools import run_notebook; print(run_notebook(sys.argv[1], sys.argv[2]))"


@linux
def test_a_runner_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    for folder in ("temporary", "runs", "books"):
        (tmp_path / folder).mkdir()
    notebook(tmp_path / "runs" / "o [1].ipynb", GOOD)
    before = contents(tmp_path / "runs")
    book = notebook(tmp_path / "books" / "n.ipynb", ORPHANS + STUBBORN)
    process = subprocess.Popen([sys.executable, "-c", RUN, book, tmp_path / "runs" / "o [1].ipynb"])
    wait_for((tmp_path / "started").exists)
    assert family(tmp_path / "books")
    assert len(list((tmp_path / "temporary").iterdir())) == 1  # all that a run needs lies in one folder
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not family(tmp_path / "books") and not list((tmp_path / "temporary").iterdir()))
    check_no_process(tmp_path / "books")
    assert not list((tmp_path / "temporary").iterdir())
    assert contents(tmp_path / "runs") == before


def test_an_interrupted_runner_leaves_nothing_half_written(earlier, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_notebook(notebook(earlier.parent / "n.ipynb", GOOD), earlier / "out.ipynb")
    assert not temporary(earlier)
