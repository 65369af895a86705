"""What the pages are made of: a gallery of the executed notebooks, a reference of the public names."""

import base64
import io
import re
import shutil
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import NamedTuple

import nbformat
from PIL import Image

import musetools

__all__ = ["write_api", "write_gallery"]

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
THUMBNAIL = (720, 480)  # pixels at most; shown at half of that


class Entry(NamedTuple):
    """One notebook of the gallery."""

    page: str  # file name of its page, without suffix
    title: str
    why: str  # what this run of it guards; "" where it is not of the suite
    sentences: Sequence[str]  # its answer
    png: bytes  # the figure of the answer


def write_gallery(runs: Path, gallery: Path) -> None:
    """Copy the executed notebooks to a folder, with a page that gives the answer of each and a thumbnail.

    Parameters
    ----------
    runs : Path
        Where `musetools regress` left them, with its ``report.json``.
    gallery : Path
        Where to; what lies there is replaced.

    Raises
    ------
    FileNotFoundError
        If the report is not there, or a notebook that it names.
    """
    from musetools.lab.regression import SuiteReport, answer_box

    if not (runs / "report.json").is_file():
        raise FileNotFoundError(f"{runs} holds no report.json of executed notebooks")
    shutil.rmtree(gallery, ignore_errors=True)
    gallery.mkdir(parents=True)
    report, entries = SuiteReport.load(runs / "report.json"), []
    for case in report.cases:
        source = runs / f"{case.name}.ipynb"
        text = source.read_text(encoding="utf-8").replace(f"{report.folder.parent}/", "")
        (gallery / source.name).write_text(text, encoding="utf-8")
        book = nbformat.reads(text, as_version=4)
        entries.append(Entry(case.name, title_of(book), case.why, *answer_of(book, source)))
    why = "The whole suite, whose notebooks these pages show."
    note = "What it says of the suite stands in the [gallery](index.md)."
    title = copy_code("03_regression", gallery / "03.ipynb", note)
    box = answer_box(report)
    entries.append(Entry("03", title, why, box.sentences, base64.b64decode(box._repr_mimebundle_()["image/png"])))
    why = "For looking and listening, in JupyterLab."
    title = copy_code("explore", gallery / "explore.ipynb", "![The explorer in JupyterLab](../explorer.png)")
    answer = ["The 200 ms that any frame of a clip of yours is conditioned on, in training and at inference."]
    entries.append(Entry("explore", title, why, answer, (ROOT / "docs" / "explorer.png").read_bytes()))
    write_page(sorted(entries), gallery)


def copy_code(name: str, target: Path, note: str) -> str:
    """Copy a notebook that is no case of the suite, say that it was not run, and return its title."""
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    book.cells.insert(1, nbformat.v4.new_markdown_cell(f"*This notebook was not run for these pages.* {note}"))
    nbformat.write(book, target)
    return title_of(book)


def title_of(book: nbformat.NotebookNode) -> str:
    """Return a notebook's first heading."""
    return re.search(r"^# (.+)$", book.cells[0].source, re.MULTILINE)[1]


def answer_of(book: nbformat.NotebookNode, source: Path) -> tuple[list[str], bytes]:
    """Return the sentences of an executed notebook's answer box, and its figure."""
    for output in (output for cell in book.cells for output in cell.get("outputs", ())):
        html = output.get("data", {}).get("text/html", "")
        if "<b>Answer</b>" in html:
            sentences = [unescape(text) for text in re.findall(r"<p>(.*?)</p>", html, re.DOTALL)]
            return list(dict.fromkeys(sentences)), base64.b64decode(output.data["image/png"])
    raise FileNotFoundError(f"{source} holds no answer")


def write_page(entries: Sequence[Entry], gallery: Path) -> None:
    """Write the page of all answers, and the thumbnails."""
    cards = []
    for entry in entries:
        image = Image.open(io.BytesIO(entry.png)).convert("RGB")
        image.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
        image.save(gallery / f"{entry.page}.png")
        answer = "\n".join(f"- {plain(sentence)}" for sentence in entry.sentences)
        link = f"[![{plain(entry.title)}]({entry.page}.png)]({entry.page}.ipynb)"
        number = "" if entry.page == "explore" else f"{entry.page}: "
        head = f"## [{number}{plain(entry.title)}]({entry.page}.ipynb)"
        cards.append(f"{head}\n\n:::{{container}} card\n{link}\n\n{plain(entry.why)}\n\n{answer}\n:::\n")
    names = "\n".join(f"{entry.page} <{entry.page}>" for entry in entries)
    hidden = f":::{{toctree}}\n:hidden:\n\n{names}\n:::\n"
    intro = "Every notebook of the regression suite as it was executed, with its answer."
    (gallery / "index.md").write_text("\n".join(["# Gallery", "", intro, "", *cards, hidden]), encoding="utf-8")


def plain(text: str) -> str:
    """Escape what Markdown would read in a sentence."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~])", r"\\\1", text)


def write_api(page: Path) -> None:
    """Write the page of all public names, by the room that they come from."""
    parts = ["# API reference\n\nAll of these are names of `musetools` itself; each is imported on its first use.\n"]
    for home, names in musetools.HOMES.items():
        parts += [f"## {home}", "", "```{eval-rst}"]
        for name in sorted(names, key=str.lower):
            parts += [directive(name), ""]
        parts += ["```", ""]
    page.write_text("\n".join(parts), encoding="utf-8")


def directive(name: str) -> str:
    """Return what documents a public name."""
    value = getattr(musetools, name)
    if isinstance(value, dict):  # RECIPES: its own docstring is that of dict
        names = ", ".join(f"``{key}``" for key in value)
        return f".. data:: musetools.{name}\n\n   By name: {names}."
    if not isinstance(value, type):
        return f".. autofunction:: musetools.{name}"
    kind = "exception" if issubclass(value, Exception) else "class"
    return f".. auto{kind}:: musetools.{name}\n   :members:"
