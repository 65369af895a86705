"""Notebooks use what the lab's rooms export; that rooms stay apart is tested in test_house.py."""

import ast
import json
from importlib import import_module
from pathlib import Path

import pytest

import musetools

ROOT = Path(__file__).resolve().parents[2]
ROOMS = sorted(path.parent.name for path in ROOT.glob("musetools/lab/*/__init__.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHARED = {f"musetools.lab.{name}" for name in ("answer", "look", "project", "record", "speech")}
RUNNER = {"musetools.lab.regression"}  # for the notebook that runs the others


def imports(tree: ast.AST) -> set[tuple[str, str | None]]:
    """List (module, name) of every import of ours; a submodule imported by ``from`` counts as a module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "musetools.lab":
            found |= {(f"{node.module}.{alias.name}", None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module, alias.name) for alias in node.names}
    return {(module, name) for module, name in found if module.split(".")[0] == "musetools"}


def code_of(notebook: Path) -> ast.AST:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_exported_names_alone(notebook):
    tree = code_of(notebook)
    ours = imports(tree)
    modules = {module for module, _ in ours}
    rooms = {f"musetools.lab.{room}" for room in ROOMS} - RUNNER
    assert len(modules & rooms) <= 1  # its own
    assert modules <= {"musetools", *SHARED, *RUNNER, *rooms}
    bound = {"mt": musetools}
    for module, name in ours:
        if module in RUNNER:
            continue
        home = import_module(module)
        if name is not None:
            assert name in home.__all__, (module, name)
        elif module != "musetools":
            bound[module.split(".")[-1]] = home
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            assert node.attr in bound[node.value.id].__all__, f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "regression"])
def test_a_room_documents_what_it_exports(room):
    home = import_module(f"musetools.lab.{room}")
    assert home.__doc__
    for name in home.__all__:
        value = getattr(home, name)
        assert not callable(value) or value.__doc__, name
    assert "evaluate" in home.__all__ or room == "explore"
