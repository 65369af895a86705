"""The house: arrows run downwards on nine floors at most, modules are short, public names documented."""

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

import musetools

PACKAGE = Path(musetools.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (  # from the ground up; a room imports from lower floors alone, or from itself
    {"errors", "table"},
    {"timing", "files", "schema", "worker"},
    {"audio", "chunks"},
    {"features"},
    {"recipes"},
    {"check"},
    {"train", "infer", "lips"},
    {"lab"},
    {"cli"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MAX_LINES = 300


def dotted(path: Path) -> str:
    """Name the module of a file."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path) for path in FILES}


@cache
def imported(path: Path) -> frozenset[str]:
    """List the modules of ours that a file imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full here"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
    return frozenset(name for name in found if name.split(".")[0] == "musetools")


def room_of(module: str) -> str:
    """Name the room of a module: musetools.train.store lies in train."""
    return [*module.split("."), "cli"][1].replace("__main__", "cli")


def lab_room_of(module: str) -> str | None:
    """Name the room within the lab; None for what its rooms share, and outside."""
    parts = module.split(".")
    inside = parts[1:2] == ["lab"] and len(parts) > 2 and (PACKAGE / "lab" / parts[2]).is_dir()
    return parts[2] if inside else None


def upward(path: Path) -> set[str]:
    """List what a file imports from its own floor (other rooms), or from higher ones."""
    here = room_of(dotted(path))
    others = {name for name in imported(path) if name != "musetools" and room_of(name) != here}
    return {name for name in others if FLOOR_OF[room_of(name)] >= FLOOR_OF[here]}


# --- arrows


def test_there_are_nine_floors_at_most():
    assert len(FLOORS) <= 9
    assert {room_of(module) for module in MODULES if module != "musetools"} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", [path for path in FILES if dotted(path) != "musetools"], ids=dotted)
def test_arrows_run_downwards(path):
    assert not upward(path)


@pytest.mark.parametrize("path", [path for path in FILES if room_of(dotted(path)) == "lab"], ids=dotted)
def test_lab_rooms_do_not_import_each_other(path):
    here = lab_room_of(dotted(path))
    rooms = {lab_room_of(name) for name in imported(path)} - {None, here}
    assert not rooms


def test_no_module_imports_itself_by_a_detour():
    """Neither modules nor rooms go round in a circle."""
    below = {dotted(path): imported(path) & MODULES - {dotted(path)} for path in FILES}

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in seen:
            for name in below[module]:
                visit(name, (*above, module))
            seen.add(module)

    seen: set[str] = set()
    for module in below:
        visit(module, ())


def test_the_check_sees_an_arrow_that_runs_upwards(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("def f():\n    from musetools import lab\n    from musetools.train.store import FeatureStore\n")
    assert {room_of(name) for name in imported(path)} == {"lab", "train"}


# --- size and words


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_modules_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", musetools.__all__)
def test_public_names_are_there_and_documented(name):
    """Every function says what it takes, returns and raises; every class what it is made of."""
    if any(name in names for home, names in musetools.HOMES.items() if home.startswith("lab")):
        pytest.importorskip("papermill", reason="needs the extra lab")
    value = getattr(musetools, name)
    assert name in dir(musetools)
    assert not callable(value) or value.__module__.startswith("musetools")
    assert value.__doc__
    if inspect.isfunction(value):
        taken = [p for p in inspect.signature(value).parameters if p not in ("self", "cls")]
        short = len(value.__doc__.strip().splitlines()) == 1
        assert short or not taken or "Parameters\n" in value.__doc__ or "Raises\n" in value.__doc__
