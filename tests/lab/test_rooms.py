"""The lab's rooms stay apart, and notebooks use what these export."""

import ast
import json
from importlib import import_module
from pathlib import Path

import pytest

import musetools

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "musetools" / "lab"
ROOMS = sorted(path.parent.name for path in LAB.glob("*/__init__.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHARED = {f"musetools.lab.{name}" for name in ("answer", "look", "project", "record", "speech")}
RUNNER = {"musetools.lab.regression"}  # for the notebook that runs the others


def imports(tree: ast.AST) -> set[tuple[str, str | None]]:
    """List (module, name) of every import; a submodule imported by ``from`` counts as a module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                is_module = node.module == "musetools.lab"
                found.add((module, None) if is_module else (node.module, alias.name))
    return found


def code_of(notebook: Path) -> ast.AST:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_other_room(room):
    others = tuple(f"musetools.lab.{other}" for other in ROOMS if other != room)
    for path in (LAB / room).rglob("*.py"):
        named = {module for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}
        assert not {module for module in named if module.startswith(others)}, path


def test_what_rooms_share_imports_no_room():
    rooms = tuple(f"musetools.lab.{room}" for room in ROOMS)
    for path in LAB.glob("*.py"):
        named = {module for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}
        assert not {module for module in named if module.startswith(rooms)}, path


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_exported_names_alone(notebook):
    tree = code_of(notebook)
    ours = {(module, name) for module, name in imports(tree) if module.split(".")[0] == "musetools"}
    modules = {module for module, _ in ours}
    rooms = {f"musetools.lab.{room}" for room in ROOMS} - RUNNER
    assert len(modules & rooms) <= 1  # its own
    assert modules <= {"musetools", *SHARED, *RUNNER, *rooms}
    bound = {"mt": musetools}
    for module, name in ours - {(module, name) for module, name in ours if module in RUNNER}:
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
