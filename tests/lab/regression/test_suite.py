"""The suite: cases from a file, runs compared with baselines, reports in a terminal, on a page and for CI."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
from books import RECORD, contents, notebook, temporary
from click.testing import CliRunner
from figure_checks import check

from musetools import MusetoolsError, OutputError, ParameterError
from musetools.cli import main
from musetools.lab.regression import answer_box
from musetools.lab.regression import suite as suite_module
from musetools.lab.regression.baselines import Baseline, Deviation, Quantity, compared
from musetools.lab.regression.cases import read_cases
from musetools.lab.regression.outcome import CaseReport, SuiteReport, compare_reports
from musetools.lab.regression.report import names_recorded, write_reports
from musetools.lab.regression.runner import COULD_NOT_RUN, FAILED, PASSED, NotebookRun
from musetools.lab.regression.suite import run_suite

ROOT = Path(__file__).resolve().parents[3]

# --- cases


@pytest.fixture
def toml(tmp_path):
    """Write a suite in a project's ``notebooks``, and give its path."""
    (tmp_path / "notebooks").mkdir()

    def write(text: str) -> Path:
        path = tmp_path / "notebooks" / "regression.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def case(name: str, more: str = "", book: str = "n.ipynb") -> str:
    return f'[[case]]\nname = "{name}"\nnotebook = "{book}"\n{more}\n'


def test_a_case_for_every_combination_of_a_grid(toml):
    path = toml(
        case("a", 'why = "w"\ntimeout_s = 5\nignore = ["x/*"]')
        + '[case.parameters]\nrecipe = "r"\n[case.grid]\nfps = [25.0, 29.97]\nframes = [1, 2]\n'
        + case("b.c+d_e")
    )
    cases = read_cases(path)
    assert [one.name for one in cases] == [
        "a-fps=25.0-frames=1",
        "a-fps=25.0-frames=2",
        "a-fps=29.97-frames=1",
        "a-fps=29.97-frames=2",
        "b.c+d_e",
    ]
    assert cases[2].parameters == {"recipe": "r", "fps": 29.97, "frames": 1}
    assert (cases[0].why, cases[0].timeout_s, cases[0].ignore) == ("w", 5, ("x/*",))
    assert cases[4].notebook == path.parent / "n.ipynb"
    assert cases[4].parameters == {}


BAD = {
    "no TOML": ("[[case", "at end of document"),
    "bytes": ("\x00", "Invalid statement"),
    "nothing": ("", "'case' is missing"),
    "no case": ("case = []", "case is not"),
    "an unknown key": (case("a", "tolerance = 3"), "'tolerance' is unknown"),
    "no name": ('[[case]]\nnotebook = "n.ipynb"', "'name' is missing"),
    "no notebook": ('[[case]]\nname = "a"', "'notebook' is missing"),
    "a name of another type": ('[[case]]\nname = 3\nnotebook = "n.ipynb"', r"case\.0\.name.*must be string"),
    "two equal names": (case("a") + case("a"), "two cases are named a"),
    "a name that a grid makes again": (case("a-x=1") + case("a", "grid = {x = [1]}"), "two cases are named a-x=1"),
    "a name with a path": (case("../a"), "no name of a case"),
    "a long name": (case("a" * 81), "no name of a case"),
    "a value with a path": (case("a", 'grid = {x = ["b/c"]}'), "no name of a case"),
    "a grid that is no list": (case("a", "grid = {fps = 25.0}"), r"grid\.fps.*must be array"),
    "a parameter that stands twice": (
        case("a", "parameters = {x = 1}\ngrid = {x = [2]}"),
        "is in both parameters and grid",
    ),
    "a grid of nothing": (case("a", "grid = {fps = []}"), r"grid\.fps.*at least 1"),
    "the name of the page": (case("report"), "no name of a case"),
    "a name of a failed run": (case("a.failed"), "no name of a case"),
    "ignore as text": (case("a", 'ignore = "x/*"'), "ignore.*must be array"),
    "a time limit of none": (case("a", "timeout_s = 0"), "timeout_s"),
    "a time limit without end": (case("a", "timeout_s = inf"), "timeout_s"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD.values(), ids=BAD)
def test_a_suite_that_cannot_be_read(toml, text, sentence):
    path = toml(text)
    with pytest.raises(ParameterError, match=sentence) as caught:
        read_cases(path)
    assert str(path) in str(caught.value)


def test_a_suite_that_is_not_there(tmp_path):
    with pytest.raises(ParameterError, match="no suite that can be read"):
        run_suite(tmp_path / "gone.toml", out=tmp_path)


def test_the_projects_own_cases():
    cases = read_cases(ROOT / "notebooks" / "regression.toml")
    assert all(one.notebook.is_file() and one.why for one in cases)
    for one in cases:
        Baseline.load(ROOT / "data" / "baselines" / f"{one.name}.json")


# --- which cases run, without a kernel


@pytest.fixture
def ran(monkeypatch) -> list:
    """Names of the cases that were run, each of which passes with one result."""
    names = []

    def run(notebook, output, parameters, **_):
        names.append(output.stem)
        if parameters.get("raises"):
            raise RuntimeError(parameters["raises"])
        return NotebookRun(notebook, PASSED, "1 results recorded", output, {"n": parameters.get("n", 1)}, 0.1)

    monkeypatch.setattr(suite_module, "run_notebook", run)
    return names


def baseline(suite: Path, name: str, results: dict) -> Path:
    folder = suite.parent.parent / "data" / "baselines"
    folder.mkdir(parents=True, exist_ok=True)
    Baseline.of_runs([results], [], "once", 1.0).save(folder / f"{name}.json")
    return folder / f"{name}.json"


@pytest.fixture
def three(toml) -> Path:
    """A suite of three cases with baselines."""
    path = toml(case("a-1") + case("a-2") + case("b"))
    for name in ("a-1", "a-2", "b"):
        baseline(path, name, {"n": 1})
    return path


@pytest.mark.parametrize(
    ("only", "names"),
    [((), ["a-1", "a-2", "b"]), (["a"], ["a-1", "a-2"]), (["b", "a-2"], ["a-2", "b"]), (["a-1", "a"], ["a-1", "a-2"])],
)
def test_only_some_cases(three, ran, only, names):
    report = run_suite(three, only=only, jobs=2)
    assert [one.name for one in report.cases] == names
    assert sorted(ran) == names
    assert report.folder == three.parent.parent / "runs"


def test_other_weights_are_compared_with_no_baseline(three, monkeypatch):
    """Where a notebook takes weights; one without that parameter is judged as ever."""
    notebook(three.parent / "n.ipynb", parameters='encoder = "untrained-tiny"')
    given = []

    def run(path, output, parameters, **_):
        given.append(parameters.get("encoder"))
        return NotebookRun(path, PASSED, "1 results recorded", output, {"n": 2}, 0.1)

    monkeypatch.setattr(suite_module, "run_notebook", run)
    report = run_suite(three, encoder="untrained-base", only=["a"])
    assert (report.ok, given) == (True, ["untrained-base"] * 2)
    assert all("untrained-base, compared with no baseline" in one.message for one in report.cases)
    notebook(three.parent / "n.ipynb", parameters="n = 1")
    assert not run_suite(three, encoder="untrained-base", only=["b"]).ok
    with pytest.raises(ParameterError, match="leave update or encoder"):
        run_suite(three, encoder="untrained-base", update=True)


def test_one_name_may_be_given_as_text(three, ran):
    assert [one.name for one in run_suite(three, only="a-1").cases] == ["a-1"]


@pytest.mark.parametrize("only", [["c"], ["a", "c"], ["c", "d"]])
def test_a_name_that_matches_nothing(three, ran, only):
    with pytest.raises(ParameterError, match=r"starts with 'c'.*there are a-1, a-2, b"):
        run_suite(three, only=only)
    assert not ran


def test_a_case_named_by_a_number(three, ran):
    with pytest.raises(ParameterError, match=r"got \[4\].* by -r"):
        run_suite(three, only=[4])
    assert not ran


def test_a_case_that_raises_does_not_stop_the_others(toml, ran):
    path = toml(case("bad", 'parameters = {raises = "boom"}') + case("good"))
    for name in ("bad", "good"):
        baseline(path, name, {"n": 1})
    report = run_suite(path, jobs=1)
    assert [one.status for one in report.cases] == [COULD_NOT_RUN, PASSED]
    assert "boom" in report.cases[0].message


def test_an_interrupt_starts_no_more_cases(toml, ran, monkeypatch):
    path = toml("".join(case(f"c{i}") for i in range(20)))
    for i in range(20):
        baseline(path, f"c{i}", {"n": 1})
    slow = suite_module.run_notebook

    def run(*args, **others):
        time.sleep(0.1)
        return slow(*args, **others)

    def interrupted(*_):
        """Be interrupted, as by Ctrl-C, when the first case is done."""
        raise KeyboardInterrupt

    monkeypatch.setattr(suite_module, "run_notebook", run)
    monkeypatch.setattr(suite_module.tqdm, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_suite(path, jobs=1, progress=True)
    assert len(ran) < 5


def test_a_folder_that_cannot_be_made(three, ran):
    with pytest.raises(OutputError, match="cannot make the folder"):
        run_suite(three, out=three / "runs")
    assert not ran


# --- what a case ends in


def test_no_baseline_could_not_run_before_a_kernel_starts(three, ran):
    path = baseline(three, "b", {"n": 1})
    path.unlink()
    report = run_suite(three)
    assert [one.status for one in report.cases] == [PASSED, PASSED, COULD_NOT_RUN]
    assert re.search(r"no baseline .*b\.json", report.cases[2].message)
    assert "b" not in ran
    assert (report.status, report.exit_code, report.ok) == (COULD_NOT_RUN, 2, False)


@pytest.mark.parametrize("edit", [{"value": float("nan")}, {"value": 1.0, "tolerance": 0.5}])
def test_a_baseline_that_hides_faults_could_not_run(three, ran, edit):
    path = baseline(three, "b", {"n": 1.0})
    plain = json.loads(path.read_text())
    plain["quantities"]["n"].update(edit)
    path.write_text(json.dumps(plain))
    (report,) = run_suite(three, only=["b"]).cases
    assert report.status == COULD_NOT_RUN
    assert re.search("NaN|hide", report.message)
    assert not ran


@pytest.mark.parametrize(
    ("was", "sentence"),
    [
        ({"n": 2}, "n is off by 1, allowed is 0"),
        ({"n": 1.0}, "n is int64, was float64"),
        ({"n": "1"}, "n is 1, was '1'"),
        ({"n": 1, "m": 2}, "m is missing"),
        ({"m": 2, "o": 3}, "m is missing; and 2 more"),
        ({}, "n is new: it has no baseline"),
    ],
)
def test_a_deviation_fails(three, ran, was, sentence):
    path = baseline(three, "b", {"n": 1})
    Baseline.of_runs([was], [], "once", 1.0).save(path)
    report = run_suite(three)
    assert report.cases[2].message == sentence
    assert (report.cases[2].status, report.status, report.exit_code) == (FAILED, FAILED, 1)
    assert not report.cases[2].worst.ok


def test_ignored_quantities_need_no_baseline(toml, ran):
    path = toml(case("a", 'ignore = ["n*"]'))
    baseline(path, "a", {})
    assert run_suite(path).ok


def test_update_shows_what_changed(three, ran):
    path = baseline(three, "b", {"n": 7, "m": 1})
    report = run_suite(three, update=True, only=["b"])
    assert report.ok
    assert report.cases[0].message == "new baseline, n is off by 6, allowed is 0; m is missing"
    assert ran == ["b"] * 4
    made = Baseline.load(path)
    assert list(made.quantities) == ["n"]
    assert "4 runs" in made.measured
    assert run_suite(three, update=True, only=["b"]).cases[0].message.endswith("nothing changed beyond its tolerance")


def test_update_runs_with_other_threads_and_instructions(three, monkeypatch):
    given, noise = [], iter((0.0, 1e-3, -2e-3, 0.0))

    def run(notebook, output, parameters, *, threads, env, **_):
        given.append((threads, sorted(env)))
        return NotebookRun(notebook, PASSED, "", output, {"x": 1.0 + next(noise)}, 0.1)

    monkeypatch.setattr(suite_module, "run_notebook", run)
    assert run_suite(three, update=True, only=["b"]).ok
    assert [threads for threads, _ in given] == [1, 2, 1, 2]
    assert [bool(env) for _, env in given] == [False, False, True, True]
    made = Baseline.load(three.parent.parent / "data" / "baselines" / "b.json").quantities["x"]
    assert (made.noise, made.tolerance) == (pytest.approx(2e-3), pytest.approx(2e-2))


def test_update_keeps_the_old_baseline_where_no_new_one_can_be_made(three, ran, monkeypatch):
    path, numbers = baseline(three, "b", {"n": 1}), iter(range(9))
    quiet = suite_module.run_notebook
    monkeypatch.setattr(
        suite_module, "run_notebook", lambda book, output, given, **others: quiet(book, output, {"n": next(numbers)})
    )
    before = path.read_bytes()
    report = run_suite(three, update=True, only=["b"])
    assert report.cases[0].status == FAILED
    assert "no new baseline: n differs between runs" in report.cases[0].message
    assert path.read_bytes() == before


# --- reports

STRANGE = "<b>&é \x1b[31mred\x1b[0m \ufffe \ud800 ]]>"
MIXED = SuiteReport(
    (
        CaseReport(
            "good", "why <i>", PASSED, "2 quantities within their tolerances", None, (Deviation("x", 1e-6, 1e-5),), 1.0
        ),
        CaseReport(
            "bad",
            "",
            FAILED,
            "y is missing",
            None,
            (
                Deviation("z", 0.0, 0.0),
                Deviation("y", float("inf"), 0.1, "is missing"),
                Deviation("w", 3.0, 1.0, "off"),
            ),
            2.0,
        ),
        CaseReport("ugly", "", COULD_NOT_RUN, STRANGE, None, (), 0.0),
    ),
    3.5,
    "2026-01-01T00:00:00+00:00",
    Path("runs"),
)


def test_junit(tmp_path):
    write_reports(MIXED, tmp_path)
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    good, bad, ugly = suite
    assert [one.get("name") for one in suite] == ["good", "bad", "ugly"]
    assert len(good) == 0
    assert bad[0].tag == "failure"
    assert bad[0].text.split() == ["y", "is", "missing", "w", "off"]
    assert ugly[0].tag == "error"
    assert ugly[0].get("message").startswith("<b>&é ")


def test_json_and_back(tmp_path):
    clean = SuiteReport(MIXED.cases[:2], *[getattr(MIXED, name) for name in ("seconds", "when", "folder")])
    (tmp_path / "report.json").write_text(clean.to_json())
    assert SuiteReport.load(tmp_path / "report.json") == clean
    assert "NaN" not in clean.to_json()
    assert "Infinity" not in clean.to_json()


OTHER_REPORTS = {"seconds": "9", "when": 7, "folder": None, "cases": {}}


@pytest.mark.parametrize("name", OTHER_REPORTS)
def test_a_report_of_other_types(tmp_path, name):
    """None of it is found only when the report is shown."""
    plain = json.loads(SuiteReport(MIXED.cases, 1.0, "", tmp_path).to_json()) | {name: OTHER_REPORTS[name]}
    (tmp_path / "r.json").write_text(json.dumps(plain))
    with pytest.raises(ParameterError, match=f"{name} is not what is expected"):
        SuiteReport.load(tmp_path / "r.json")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"cases": [{}]}', '{"cases": 3}', "[" * 10**5])
def test_a_file_that_is_no_report(tmp_path, content):
    if content is not None:
        (tmp_path / "r.json").write_text(content)
    with pytest.raises(ParameterError, match="no report that can be read"):
        SuiteReport.load(tmp_path / "r.json")


def test_the_table_puts_what_is_worst_first():
    assert MIXED.cases[1].worst.quantity == "y"
    assert [line[1] for line in MIXED.worst_table().lines] == ["y", "w", "x", "z"]
    assert repr(MIXED).splitlines()[-1] == "3 cases in 4 s: 1 passed, 1 failed, 1 could not run"
    assert "<td>failed</td>" in MIXED._repr_html_()


def test_the_page_escapes_names_messages_and_images(tmp_path):
    image = '"><script>alert(7)</script><i a="'
    shown = nbformat.v4.new_output("display_data", {"image/png": image})
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[shown])])
    nbformat.write(book, tmp_path / "n.ipynb")
    cases = (*MIXED.cases, CaseReport("<u>", "", PASSED, "", tmp_path / "n.ipynb"))
    page = write_reports(SuiteReport(cases, 1.0, "<now>", tmp_path), tmp_path).read_text("utf-8")
    assert "why &lt;i&gt;" in page
    assert not re.search("<script|why <i>|<u>|<now>|<b>&", page)


def test_the_page_tells_a_stranger_what_broke_by_how_much_and_where(tmp_path):
    """The number that moved, what it was, what is allowed; the figure that the notebook draws of it; the last run."""
    images = ["b3RoZXI=", "bW91dGg="]
    shown = [nbformat.v4.new_output("display_data", {"image/png": image}) for image in images]
    cells = [
        nbformat.v4.new_code_cell("size_figure(answer.sizes, answer)", outputs=shown[:1]),
        nbformat.v4.new_markdown_cell("## The mouth"),
        nbformat.v4.new_code_cell("mouth_figure(answer.mouth, offset)", outputs=shown[1:]),
        nbformat.v4.new_code_cell("record(offset_ms=offset.offset_ms if offset else None, n=answer.n)"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "clip.ipynb")
    found = compared("offset_ms", Quantity(30.4, 0.01), 0.4), compared("n", Quantity(2), 2)

    def report(*deviations: Deviation) -> SuiteReport:
        status = PASSED if all(d.ok for d in deviations) else FAILED
        case = CaseReport("clip", "The mouth lies where it lay.", status, "", tmp_path / "clip.ipynb", deviations, 2.0)
        return SuiteReport((case,), 3.0, "2026-01-02", tmp_path)

    before = write_reports(report(found[1]), tmp_path).read_text("utf-8")
    assert "No earlier report" in before
    assert "What broke" not in before
    page = write_reports(report(*found), tmp_path).read_text("utf-8")
    broke = page[page.index("What broke") : page.index("All cases")]
    for text in ("The mouth lies where it lay.", "0.4 ms", "30.4 ms", "0.01", "1 of 2 recorded numbers is not"):
        assert text in broke
    assert images[1] in broke
    assert images[0] not in broke
    assert 'href="clip.html#Answer"' in broke
    assert 'href="clip.html#The-mouth"' in broke
    assert "passed → failed" in page[page.index("Since the last run") :]


def test_the_figure_of_a_number_is_that_of_what_it_was_recorded_from():
    """Loop variables are no names of the notebook's."""
    last = "n = 3\nrecord(inside=answer.compared.values.by(2), lags={k: v.x for k, v in table.rows}, n=n)"
    assert {"answer.compared.values", "answer.compared", "answer", "by", "compared"} <= names_recorded(last, "inside")
    assert names_recorded(last, "lags") == {"table.rows", "table", "rows"}
    assert names_recorded(last, "n") == {"n"}
    assert names_recorded("not Python", "n") == set()


@pytest.mark.parametrize(
    ("name", "value", "got", "texts"),
    [
        ("delay_ms/live", 1.5, 2.5, ("2.5 ms", "1.5 ms")),
        ("drift_ms_s", 1.0, 2.0, ("2 ms per s", "1 ms per s")),
        ("n", 1, 2, ("2", "1")),
        ("verdict", "<b>", "<i>", ("<i>", "<b>")),
        ("given", np.array([[1.0, 2.0]]), np.array([[1.0, 5.0]]), ("5 at [0, 1]", "2 at [0, 1]")),
        ("given", np.zeros((2, 3)), np.zeros(2), ("float64 (2,)", "float64 (2, 3)")),
        ("given", np.zeros(0), np.zeros(0), ("float64 (0,)", "float64 (0,)")),
        ("ok", True, False, ("False", "True")),
    ],
)
def test_a_number_is_shown_with_its_unit_and_place(name, value, got, texts):
    found = compared(name, Quantity(value), got)
    assert (found.measured, found.expected) == texts


def test_reports_go_to_a_folder_of_any_name(tmp_path):
    folder = tmp_path / os.fsdecode(b"a {b} \xff")
    folder.mkdir()
    report = SuiteReport(MIXED.cases, 1.0, "", folder)
    assert write_reports(report, folder) == folder / "report.html"
    assert SuiteReport.load(folder / "report.json").folder == folder


def test_two_reports_compared():
    later = SuiteReport(
        (
            CaseReport(
                "good", "", FAILED, "", None, (Deviation("x", 2e-5, 1e-5, "off"), Deviation("new", 1.0, 0.0)), 9.0
            ),
            CaseReport("bad", "", FAILED, "", None, MIXED.cases[1].deviations, 2.0),
            CaseReport("other", "", PASSED, "", None, (), 1.0),
        ),
        9.0,
        "2026-01-02T00:00:00+00:00",
        Path("runs"),
    )
    table = compare_reports(MIXED, later)
    assert [line[:3] for line in table.lines] == [
        ["good", "passed → failed", "1 → 9 s"],
        ["bad", "failed", "2 → 2 s"],
        ["ugly", "only earlier", "0 s"],
        ["other", "only later", "1 s"],
    ]
    assert list(table.lines[0][3:]) == ["x", "1e-06", "2e-05"]
    assert table.lines[1][3] == "none"


# --- all of it, with kernels

CELL = f"""import numpy as np
{RECORD}
record(n=n, x=np.linspace(0, x, 100, dtype=np.float32), who="<é>", took_s=np.random.rand() + 1)"""
FIGURE = """from IPython.display import Image, display
import base64
display(Image(base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
), format="png"))"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project of five cases: one passes, one fails, one stops, two could not run; the paths are not plain."""
    root = tmp_path_factory.mktemp("a {b} é")
    (root / "notebooks").mkdir()
    notebook(root / "notebooks" / "n.ipynb", FIGURE, CELL, parameters="n = 1\nx = 1.0")
    notebook(root / "notebooks" / "stops.ipynb", "raise ValueError('<5>')", parameters="")
    path = root / "notebooks" / "regression.toml"
    ignore = 'ignore = ["took_s"]\n'
    path.write_text(
        case("good", ignore + 'why = "<guards>"')
        + case("grid", ignore + "grid = {n = [2]}")
        + case("stops", book="stops.ipynb")
        + case("unknown", book="n.ipynb")
        + case("typo", "parameters = {m = 1}"),
        encoding="utf-8",
    )
    results = {"n": 1, "x": np.linspace(0, 1, 100, dtype=np.float32), "who": "<é>"}
    for name in ("good", "grid-n=2", "stops", "typo"):
        baseline(path, name, results)
    return root


STATUSES = {"good": PASSED, "grid-n=2": FAILED, "stops": FAILED, "unknown": COULD_NOT_RUN, "typo": COULD_NOT_RUN}


def test_the_command_with_kernels(project):
    """One run of all that can happen: what it prints, the files that it leaves, the page."""
    suite, folder = project / "notebooks" / "regression.toml", project / "out"
    command = [sys.executable, "-m", "musetools", "regress", "--suite", suite, "--report", folder, "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for name, status in STATUSES.items():
        assert re.search(rf"^{name}\s+{status}", done.stdout, re.MULTILINE), done.stdout
        assert f"{name} {status} in" in done.stderr
    assert f"The report: {folder / 'report.html'}" in done.stdout
    check_files(folder)
    check_page(folder)


def check_files(folder: Path) -> None:
    report = SuiteReport.load(folder / "report.json")
    assert {one.name: one.status for one in report.cases} == STATUSES
    messages = {one.name: one.message for one in report.cases}
    assert messages["grid-n=2"] == "n is off by 1, allowed is 0"
    assert "ValueError: <5>" in messages["stops"]
    assert "no parameter 'm'" in messages["typo"]
    suite = ElementTree.fromstring((folder / "junit.xml").read_bytes())
    assert (suite.get("failures"), suite.get("errors")) == ("2", "2")
    assert not temporary(folder)
    kept = {name for name in contents(folder) if "/" not in name}
    assert kept == {"report.html", "report.json", "junit.xml"} | {
        f"{name}.{kind}" for name in ("good", "grid-n=2", "stops.failed") for kind in ("ipynb", "html")
    }


def check_page(folder: Path) -> None:
    """It stands alone, and escapes what a notebook says."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "✗ Regression suite failed" in page
    assert "&lt;guards&gt;" in page
    assert "<guards>" not in page
    assert "ValueError: &lt;5&gt;" in page
    assert page.count("data:image/png;base64,iVBOR") == 2
    links = set(re.findall(r'href="([^"]+)"', page))
    assert links == {f"{name}#Answer" for name in ("good.html", "grid-n%3D2.html", "stops.failed.html")}
    for each in folder.glob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img|iframe)[^>]*(?:src|href)\s*=\s*[\"']([^\"']*)", each.read_text("utf-8")
        )
        assert [source for source in loaded if re.match(r"(https?:)?//", source)] == [], each


def invoke(*arguments):
    return CliRunner().invoke(main, ["regress", *map(str, arguments)])


def test_the_command_after_all_passed(three, ran, tmp_path, monkeypatch):
    for one in ("a-1", "a-2", "b"):
        notebook(tmp_path / f"{one}.ipynb")
    done = invoke("--suite", three, "--only", "a", "--report", tmp_path)
    assert done.exit_code == 0, done.output
    assert sorted(ran) == ["a-1", "a-2"]
    assert "Regression suite passed" in done.output
    assert (tmp_path / "report.html").is_file()


def test_the_command_without_a_baseline(project, tmp_path):
    done = invoke("--suite", project / "notebooks" / "regression.toml", "--only", "unknown", "--report", tmp_path)
    assert done.exit_code == 2
    assert "unknown.json" in done.output
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().get("errors") == "1"


NO_START = {
    "a suite that is not there": ("--suite", "gone.toml"),
    "a case that is not there": ("--only", "nothing"),
    "a folder that cannot be made": ("--report", "/proc/here"),
    "no jobs": ("--jobs", "0"),
    "an option that is not there": ("--tolerance", "1"),
}


@pytest.mark.parametrize("arguments", NO_START.values(), ids=NO_START)
def test_the_command_that_could_not_run(project, monkeypatch, arguments):
    monkeypatch.chdir(project)
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_the_answer_of_a_run():
    """What failed is said; what passed is drawn as a share of its tolerance."""
    box = answer_box(MIXED)
    assert box.sentences[:2] == ["3 cases in 4 s: 1 passed, 1 failed, 1 could not run.", "bad: y is missing."]
    check(box.figure, {"error of the worst quantity in % of its tolerance"}, ["1 of 3 cases", "tolerance"])
    (ax,) = box.figure.axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([10, 200, 0])
    assert [text.get_text() for text in ax.texts] == ["10 %", "failed", "could not run"]
    far = CaseReport("far", "", FAILED, "", None, (Deviation("x", 50.0, 10.0, "off"),))
    (ax,) = answer_box(SuiteReport((far,), 3.5, MIXED.when, MIXED.folder)).figure.axes
    assert (ax.patches[0].get_width(), ax.texts[0].get_text()) == (200, "500 %")
    clean = SuiteReport(MIXED.cases[:1], 3.5, MIXED.when, MIXED.folder)
    assert answer_box(clean).sentences[1] == "Nearest to its tolerance is x of good: 10 % of what is allowed."
    alone = SuiteReport((CaseReport("a", "", PASSED, "compared with no baseline"),), 3.5, MIXED.when, MIXED.folder)
    assert answer_box(alone).sentences[1] == "No number was compared with a baseline."


def test_reports_of_a_folder_that_is_gone(tmp_path):
    with pytest.raises(MusetoolsError, match="gone"):
        write_reports(MIXED, tmp_path / "gone")
