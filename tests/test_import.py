"""What an import loads and when, and what must not change the behaviour."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from media import speech, write_media

import musetools


def python(code: str, *arguments: object, flags: tuple[str, ...] = (), **environment: str) -> str:
    """Run code in a fresh interpreter and give what it prints."""
    command = [sys.executable, *flags, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


# --- what is loaded, and when

CLIP = Path(__file__).parents[1] / "data" / "talker_25.mp4"
HEAVY = {"torch", "whisper", "librosa", "numba", "matplotlib", "scipy"}
SOUND = "import numpy, musetools as mt; sound = numpy.zeros(16_000, numpy.float32), 16_000; "
TRAINED = pytest.mark.trained
LOADS = {  # code, and what it leaves alone
    "musetools": ("import musetools; dir(musetools)", HEAVY | {"av", "numpy"}),
    "musetools.audio.probe": ("import musetools.audio.probe", HEAVY | {"av"}),
    **{
        f"musetools.{room}": (f"from musetools.{room} import *", HEAVY)
        for room in ("audio", "chunks", "recipes", "check", "features.spec")
    },
    "--help": (
        "from musetools.cli import main; main(['--help'])",
        HEAVY | {"fastjsonschema", "musetools.audio.decode"},
    ),
    "check --quick": (
        f"from musetools.cli import main; main(['check', '--quick', {str(CLIP)!r}])",
        HEAVY | {"musetools.worker"},
    ),
    "sound and chunks": (
        "import numpy, musetools as mt; [mt.load_audio(sys.argv[1], decoder=d) for d in ('ffmpeg', 'librosa')]; "
        "mt.feature2chunks(numpy.zeros((50, 5, 384)), 25).batch()",
        {"torch", "whisper", "librosa"},
    ),
    # whisper and numba would take 55 MiB; what reads no compressed file or other rate loads no resampler either
    "features": (f"{SOUND}mt.audio2feat(sound, 'tiny.en')", HEAVY - {"torch"} | {"soxr", "soundfile"}),
}


@pytest.mark.parametrize("what", [pytest.param(what, marks=TRAINED if what == "features" else ()) for what in LOADS])
def test_what_is_not_loaded(what, request, tmp_path):
    if what == "features":
        request.getfixturevalue("trained")
    path = write_media(tmp_path / "speech.wav", speech(0.5), 44_100)
    code, heavy = LOADS[what]
    loaded = python(f"import sys\ntry:\n    {code}\nfinally:\n    print(*sys.modules)", path).split()
    assert "musetools" in loaded
    assert heavy.isdisjoint(loaded)


def test_star_import():
    pytest.importorskip("papermill", reason="needs the extra lab")
    names = {}
    exec("from musetools import *", names)
    assert set(musetools.__all__) <= set(names)


def test_what_tab_completes():
    assert dir(musetools) == sorted([*musetools.__all__, "__version__"])


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="No musetools attribute feature2chunk"):
        _ = musetools.feature2chunk
    with pytest.raises(ImportError):
        exec("from musetools import nothing_of_the_kind")


def test_every_error_has_the_same_root():
    errors = [getattr(musetools, name) for name in musetools.__all__ if name.endswith("Error")]
    assert all(issubclass(error, musetools.MusetoolsError) for error in errors)
    assert issubclass(musetools.ParameterError, ValueError)


# --- what must not change the behaviour

BAD = """
import sys, musetools
for call in (lambda: musetools.chunk_rows(10, 0), lambda: musetools.load_audio(sys.argv[1])):
    try:
        call()
    except musetools.MusetoolsError as error:
        print(type(error).__name__, ascii(str(error)))
"""


def test_python_without_asserts_refuses_the_same(tmp_path):
    said = python(BAD, tmp_path / "gone.wav")
    assert said.startswith("ParameterError 'fps must be")
    assert "AudioError" in said
    assert python(BAD, tmp_path / "gone.wav", flags=("-O",)) == said


GOOD = """
import os, sys, musetools
from musetools.files import replacing
folder = os.fsdecode(bytes.fromhex(sys.argv[1]))
names = sorted(os.listdir(folder))
for name in names:
    for decoder in ("ffmpeg", "librosa"):
        print(len(musetools.load_audio(os.path.join(folder, name), decoder=decoder)))
with replacing(os.path.join(folder, names[0] + ".out")) as file:
    file.write(b"done")
try:
    musetools.load_audio(os.path.join(folder, names[0] + "x"))
except musetools.AudioError as error:
    print(error)
"""
STRICT = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # Python otherwise makes UTF-8 of the C locale


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locales")
@pytest.mark.parametrize("environment", [{}, STRICT], ids=["as it comes", "strict"])
def test_a_locale_that_is_not_utf8(tmp_path, environment):
    folder = tmp_path / "a {b} é d"
    folder.mkdir()
    for name in ("my {0} é speech.wav", "my {0} é speech.m4a"):
        write_media(folder / name, speech(0.5), 44_100)
    said = python(GOOD, os.fsencode(folder).hex(), LC_ALL="C", **environment)
    assert [abs(int(n) - 8_000) <= 640 for n in said.splitlines()[:4]] == [True] * 4
    assert "is not there" in said
    assert (folder / "my {0} é speech.m4a.out").read_bytes() == b"done"
