"""The pages: their gallery takes what the suite executed, and their check sees what is wrong."""

import importlib.util
import re
from pathlib import Path

import pytest
from check_pages import faults

ROOT = Path(__file__).parents[1]
pytest.importorskip("matplotlib", reason="needs the extra lab")


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def runs(tmp_path):
    """What the suite leaves behind of one case."""
    import nbformat
    from nbformat import v4

    from musetools.lab.answer import AnswerBox
    from musetools.lab.look import figure
    from musetools.lab.regression import CaseReport, SuiteReport

    folder = tmp_path / "project" / "runs"
    folder.mkdir(parents=True)
    with figure() as (fig, axes):
        axes[0, 0].set_title("a figure")
    box = AnswerBox(["Rows differ by 3 < 5 at *once*.", f"Read in {folder.parent}/data."], fig)
    output = v4.new_output("execute_result", box._repr_mimebundle_(), execution_count=1)
    cells = [v4.new_markdown_cell("# Is it *so*?"), v4.new_code_cell("box", outputs=[output], execution_count=1)]
    nbformat.write(v4.new_notebook(cells=cells), folder / "01-case.ipynb")
    case = CaseReport("01-case", "Guards it.", "passed", "", folder / "01-case.ipynb")
    (folder / "report.json").write_text(SuiteReport((case,), 1.0, "now", folder).to_json())
    return folder


def test_the_gallery_gives_each_answer(pages, runs, tmp_path):
    pages.write_gallery(runs, tmp_path / "gallery")
    text = (tmp_path / "gallery" / "index.md").read_text("utf-8")
    assert re.findall(r"^## \[(.+?)\]\((.+?)\)$", text, re.MULTILINE)[0] == (r"01-case: Is it \*so\*?", "01-case.ipynb")
    assert r"- Rows differ by 3 \< 5 at \*once\*." in text
    assert "- Read in data." in text  # no path of the machine that executed it
    assert {path.name for path in (tmp_path / "gallery").glob("*.png")} == {"01-case.png", "03.png", "explore.png"}
    assert str(runs.parent) not in (tmp_path / "gallery" / "01-case.ipynb").read_text("utf-8")


def test_without_a_suite_run_nothing_is_built(pages, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no report\.json"):
        pages.write_gallery(tmp_path, tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()
    assert "Run `musetools regress` first" in (ROOT / "docs" / "conf.py").read_text("utf-8")


def test_the_reference_holds_every_public_name(pages, tmp_path):
    import musetools

    pages.write_api(tmp_path / "api.md")
    named = re.findall(r"^\.\. [a-z]+:: musetools\.(\w+)", (tmp_path / "api.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == musetools.__all__


def test_every_guide_is_on_the_pages():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = {line.split("<")[-1].rstrip(">") for line in re.findall(r"^[^%\n]+$", index, re.MULTILINE)}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"} <= listed


def test_the_check_sees_what_is_wrong(tmp_path):
    (tmp_path / "gallery").mkdir()
    names = ["01", "02", "03", "04", "05", "06", "07"]
    cards = "".join(f'<section><a href="{name}.html"><img src="a.png"></a><li>so</li></section>' for name in names)
    (tmp_path / "gallery" / "index.html").write_text(f"<section>{cards}")
    for name in (*(f"{name}.html" for name in names), "a.png"):
        (tmp_path / "gallery" / name).write_text("")
    links = '<a href="gallery/index.html#no">x</a><a href="gone.html">x</a><a href="#here" id="here">x</a>'
    (tmp_path / "index.html").write_text(f'{links}<script src="https://cdn.example/x.js"></script>')
    (tmp_path / "a.css").write_text("@font-face { src: url('//fonts.example/f.woff') }")
    found = "\n".join(faults(tmp_path))
    for part in ("#no names no place", "gone.html is not there", "cdn.example", "fonts.example", "of explore"):
        assert part in found
    assert len(found.splitlines()) == 5
