"""The house: arrows run downwards on nine floors at most, modules are short, public names documented."""

import ast
import inspect
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
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
NO_TORCH = ("musetools.audio", "musetools.chunks", "musetools.recipes", "musetools.check", "musetools.features.spec")
HEAVY = {"torch", "whisper", "librosa", "numba", "matplotlib", "scipy"}


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


# --- what is loaded


@pytest.mark.parametrize("module", NO_TORCH)
def test_what_needs_no_torch_loads_none(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ, check=True)
    assert HEAVY.isdisjoint(done.stdout.decode().split())


def test_the_command_check_loads_no_torch():
    clip = PACKAGE.parent / "data" / "talker_25.mp4"
    if not clip.is_file():
        pytest.skip("the bundled clips are not here")
    code = (
        "import sys; sys.argv = ['musetools', 'check', '--quick', sys.argv[1]]; from musetools.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, clip], capture_output=True, env=os.environ, check=True)
    assert HEAVY.isdisjoint(done.stdout.decode().split())


@pytest.mark.trained
def test_features_load_neither_whisper_nor_numba():
    """They would take 55 MiB; what reads no compressed file or other rate loads no resampler either."""
    code = (
        "import sys, numpy, musetools as mt; sound = numpy.zeros(16_000, numpy.float32), 16_000\n"
        "mt.audio2feat(sound, 'tiny.en'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ, check=True)
    assert (HEAVY - {"torch"} | {"soxr", "soundfile"}).isdisjoint(done.stdout.decode().split())


# --- size and words


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_modules_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


LAB_INSTALLED = all(find_spec(name) for name in ("matplotlib", "papermill"))


def of_the_lab(name: str) -> bool:
    return musetools._HOME_OF[name].startswith("lab")


@pytest.mark.parametrize("name", musetools.__all__)
def test_public_names_are_documented(name):
    """Every function says what it takes, returns and raises; every class what it is made of."""
    if of_the_lab(name) and not LAB_INSTALLED:
        pytest.skip("needs the extra lab")
    value = getattr(musetools, name)
    assert value.__doc__
    if inspect.isfunction(value):
        taken = [p for p in inspect.signature(value).parameters if p not in ("self", "cls")]
        short = len(value.__doc__.strip().splitlines()) == 1
        assert short or not taken or "Parameters\n" in value.__doc__ or "Raises\n" in value.__doc__
