"""What is read from disk, damaged: a store's files, contracts, weights, suites, baselines, reports, mouth series."""

import io
import json
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from books import notebook
from checkpoints import save_hugging_face, save_openai, small_weights
from ctranslate2_files import save_ctranslate2
from fuzz import CORPUS, HUGE, ODD, VALUES, as_json, changed, damaged, damaged_json, fuzz, judged
from hypothesis import strategies as st
from stores import SHAPE, make_store, rows_of

from musetools import AudioContract, ChunkDataset, FeatureStore, load_encoder
from musetools.chunks.settings import ChunkSettings
from musetools.lips.series import read_mouth

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
CLIPS = "abc"


@pytest.fixture(scope="module")
def store(tmp_path_factory, small) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("fuzz") / "store", small, CLIPS)


@fuzz(120)
def test_store(data, store):
    """A manifest, its head or a clip's rows: what is given is what was written, or it is an error or not there."""
    manifest = store.root / "manifest.jsonl"
    path = data.draw(st.sampled_from([manifest, store.root / "store.json", store.path("a")]))
    whole = path.read_bytes()
    if path.suffix == ".npy":
        made = data.draw(damaged(whole))
    elif path.suffix == ".json":
        made = data.draw(damaged_json(whole))
    else:
        lines = whole.splitlines(keepends=True)
        lines[1] = data.draw(damaged_json(lines[1].strip())) + b"\n"
        made = b"".join(lines)
    try:
        path.write_bytes(made)
        _read_store(store.root, path.suffix == ".npy" and made != whole)
    finally:
        path.write_bytes(whole)


def _read_store(root: Path, rows_changed: bool) -> None:
    with judged("store"):
        opened = FeatureStore.open(root)
        assert repr(opened)
        assert opened.size_mib() >= 0
        bad = opened.verify().bad
        assert ("a" in bad) == rows_changed or "a" not in opened
        for clip in set(opened) - set(bad):
            rows = opened[clip]
            assert any(np.array_equal(rows, rows_of(name)) for name in CLIPS)
        items = ChunkDataset(opened, 25, edge="clamp")
        assert np.isfinite(items[0]["audio"]).all() or bad


@pytest.fixture(scope="module")
def contract(store, small, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("contract") / "whole.json"
    store.contract(ChunkSettings(), small).save(path)
    return path.read_bytes()


@fuzz(80)
def test_contract(data, contract, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "contract.json"
    path.write_bytes(data.draw(damaged_json(contract)))
    with judged("contract"):
        read = AudioContract.load(path)
        assert repr(read)
        read.save(path)
        assert AudioContract.load(path).differences(read) == []


WEIGHTS = ("openai.pt", "old.pt", "safe/model.safetensors", "safe/config.json", "bin/pytorch_model.bin")
WEIGHTS += ("ct2/model.bin",)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """Small weights in every layout."""
    folder, weights = tmp_path_factory.mktemp("weights"), small_weights(width=8)
    save_openai(folder / "openai.pt", weights)
    save_openai(folder / "old.pt", weights, _use_new_zipfile_serialization=False)
    save_hugging_face(folder / "safe", weights)
    save_hugging_face(folder / "bin", weights, "bin")
    save_ctranslate2(folder / "ct2", weights)
    return folder


@fuzz(60)
def test_weights(data, published):
    path = published / data.draw(st.sampled_from(WEIGHTS))
    whole = path.read_bytes()
    made = data.draw(damaged_json(whole) if path.suffix == ".json" else damaged(whole))
    try:
        path.write_bytes(made)
        with judged("weights"):
            read = load_encoder(path if path.suffix == ".pt" else path.parent, device="cpu")
            assert np.isfinite(np.asarray(read.hidden_states(np.zeros((1, 80, 20), np.float32)))).all() or made != whole
    finally:
        path.write_bytes(whole)


MOUTH = b"time_s,inner,outer\n" + b"".join(b"%.2f,%.3f,%.3f\n" % (i / 25, i % 3 / 9, i % 5 / 9) for i in range(50))


@fuzz(150)
def test_mouth(data, tmp_path_factory):
    rows = io.BytesIO()
    np.save(rows, np.random.default_rng(0).random((50, 4)))
    suffix, whole = data.draw(st.sampled_from([("csv", MOUTH), ("npy", rows.getvalue())]))
    path = tmp_path_factory.getbasetemp() / f"mouth.{suffix}"
    path.write_bytes(data.draw(damaged(whole)))
    frames = data.draw(st.sampled_from([None, np.arange(50) / 25]))
    with judged("mouth"):
        series = read_mouth(path, frames)
        assert series.values.shape == (len(series.times_s), 4)
        assert (np.diff(series.times_s) > 0).all()
        assert np.isfinite(series.opening[1]).all()


# --- the regression suite

SUITE = {"case": [{"name": "a", "notebook": "n.ipynb", "grid": {"fps": [25, 30]}, "ignore": ["x"], "timeout_s": 60}]}
PARAMETERS = {"text": "a", "n": 3, "x": 0.5, "yes": True, "many": [1], "nothing": None}


@fuzz(100)
def test_suite(data, tmp_path_factory):
    """A suite, a baseline, a report, parameters: refused when they are read, or whole."""
    pytest.importorskip("papermill")
    target = data.draw(st.sampled_from((_cases, _baseline, _report, _parameters)))
    with warnings.catch_warnings(), judged(f"suite{target.__name__}"):
        warnings.simplefilter("ignore")
        target(data, tmp_path_factory.getbasetemp())


def _cases(data, folder: Path) -> None:
    from musetools.lab.regression.cases import SUITE as SCHEMA
    from musetools.lab.regression.cases import read_cases

    if data.draw(st.booleans()):  # values, without a writer of TOML
        SCHEMA.check(data.draw(changed(SUITE)))
        return
    text = b'[[case]]\nname = "a"\nnotebook = "n.ipynb"\ngrid = {fps = [25, 30]}\ntimeout_s = 60\nignore = ["x/*"]\n'
    (folder / "suite.toml").write_bytes(data.draw(damaged(text)))
    assert all(case.name and case.timeout_s > 0 for case in read_cases(folder / "suite.toml"))
    assert tomllib.loads((folder / "suite.toml").read_text("utf-8"))


def _baseline(data, folder: Path) -> None:
    from musetools.lab.regression.baselines import Baseline

    results = {"lag": 0.5, "names": ["a"], "rows": np.arange(100.0), "n": 3, "some": {"x": [1.5, 2.0]}}
    Baseline.of_runs([results, results], [], "twice", 1.0).save(folder / "b.json")
    path = folder / data.draw(st.sampled_from(("b.json", "b.json", "b.rows.npy")))
    whole = path.read_bytes()
    made = data.draw(damaged(whole) if path.suffix == ".npy" else damaged_json(whole))
    path.write_bytes(made)
    read = Baseline.load(folder / "b.json")
    assert path.suffix == ".json" or made == whole
    assert all(deviation.quantity for deviation in read.compare(results, []))


def _report(data, folder: Path) -> None:
    from musetools.lab.regression import CaseReport, SuiteReport, compare_reports
    from musetools.lab.regression.baselines import Deviation

    case = CaseReport("a", "w", "failed", "m", folder / "a.ipynb", (Deviation("x", 2.0, 1.0, "off"),), 2.0)
    whole = SuiteReport((case,), 2.0, "2026-01-01", folder).to_json().encode()
    (folder / "report.json").write_bytes(data.draw(damaged_json(whole)))
    read = SuiteReport.load(folder / "report.json")
    assert repr(read)
    assert read._repr_html_()
    assert repr(read.worst_table())
    assert repr(compare_reports(read, read))
    assert json.loads(read.to_json())["when"] == read.when


def _parameters(data, folder: Path) -> None:
    from musetools.lab.regression.parameters import checked_parameters, declared, from_texts, read_notebook

    cell = "\n".join(f"{name} = {value!r}" for name, value in PARAMETERS.items())
    path = notebook(folder / "n.ipynb", "1", parameters=cell)
    names = st.sampled_from([*PARAMETERS, "typo", "__import__('os')", "", "n = 1; m"])
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged_json(path.read_bytes())))
        declared(read_notebook(path))
        return
    values = st.dictionaries(names, VALUES | HUGE | ODD | st.floats(), max_size=3)
    given = data.draw(st.dictionaries(names, ODD | st.text(), max_size=3).map(lambda d: from_texts(path, d)) | values)
    checked = checked_parameters(read_notebook(path), given)
    assert all(type(v) in (type(PARAMETERS[n]), int, *[type(v)] * (n == "nothing")) for n, v in checked.items())


# --- what was found


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.*")), ids=lambda path: path.name)
def test_corpus(path):
    """Each file of the corpus is read by the reader of its kind, which its name begins with, and refused."""
    readers = {"mouth": read_mouth, "contract": AudioContract.load, "weights": load_encoder}
    with judged("corpus"):
        readers[path.name.split("-")[0]](path)
        pytest.fail(f"{path.name} is accepted")


def test_the_judge_sees_a_foreign_exception():
    with pytest.raises(ZeroDivisionError), judged("judge"):
        1 / 0  # noqa: B018
    with pytest.raises(TypeError), judged("judge"):
        int([])
    assert as_json({"a": 1}) == b'{"a": 1}'
    assert SHAPE == (2, 64)
