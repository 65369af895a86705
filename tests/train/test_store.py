"""A store gives back what was put in, says how it was made, and takes nothing that does not belong."""

import hashlib
import json
import os
import re
import shutil
import unicodedata
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from checkpoints import small_weights
from hypothesis import example, given
from hypothesis import strategies as st
from media import speech, write_media
from oracles import encoder_of
from stores import QUICK, SHAPE, add_all, contents, make_store, rows_of

from musetools import (
    AudioError,
    EncoderWindow,
    FeatureSpec,
    FeatureStore,
    OutputError,
    ParameterError,
    StoreError,
    audio2feat,
)
from musetools.features.encoder import Encoder, load_encoder
from musetools.train.integrity import file_name
from musetools.train.manifest import check_clip_id


@pytest.fixture(scope="module")
def full(tmp_path_factory, small, sound):
    """A store with one clip of speech, one of silence and one made elsewhere."""
    store = FeatureStore.create(tmp_path_factory.mktemp("full") / "store", QUICK, small)
    store.add("speech", sound, small, fps=29.97, n_frames=44)
    store.add("array", (np.zeros(8000, np.float32), 16_000), small)
    store.add_rows("rows", rows_of("rows"), fps=25)
    return store


# --- creating and opening


def test_a_new_store_is_empty_and_says_how_it_was_made(tmp_path, small):
    made = FeatureStore.create(tmp_path / "deep" / "store", "musetalk-v1", small, dtype="float16")
    again = FeatureStore.open(str(tmp_path / "deep" / "store"))
    assert made.provenance == again.provenance
    assert made.clips == again.clips == ()
    assert again.spec == FeatureSpec.named("musetalk-v1")
    assert again.dtype == np.float16
    assert again.row_shape == SHAPE
    assert again.provenance["encoder"]["fingerprint"] == small.fingerprint
    assert {"musetools", "torch", "numpy", "openai-whisper"} <= again.provenance["libraries"].keys()


@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec(mel_peak="file", padding="mel", final_norm=False, window=EncoderWindow(5, 20, 5, 30)),
        FeatureSpec(decoder="librosa", window=EncoderWindow(2, 0.2, 0.2, None, positions="clip")),
        FeatureSpec(keep_padding=True),
    ],
)
def test_a_spec_comes_back(tmp_path, small, spec):
    FeatureStore.create(tmp_path / "store", spec, small)
    assert FeatureStore.open(tmp_path / "store").spec == spec


def test_an_empty_folder_will_do(tmp_path, small):
    assert len(FeatureStore.create(tmp_path, "musetools", small)) == 0


@pytest.mark.parametrize("what", ["a store", "a file in the folder", "a file of this name"])
def test_nothing_is_overwritten(tmp_path, small, what):
    root = tmp_path / "store"
    if what == "a store":
        make_store(root, small, "a")
    elif what == "a file in the folder":
        root.mkdir()
        (root / "thesis.tex").write_text("years of work")
    else:
        root.write_text("years of work")
    with pytest.raises(StoreError, match=r"is not empty.*FeatureStore\.open"):
        FeatureStore.create(root, "musetools", small)
    assert root.is_file() or len(list(root.iterdir())) in (1, 3, 4)


@pytest.mark.parametrize("parent", ["a file", "/proc"])
def test_a_folder_that_cannot_be_made(tmp_path, small, parent):
    (tmp_path / "a file").touch()
    with pytest.raises(OutputError, match=r"cannot make a store in .*store"):
        FeatureStore.create(tmp_path / parent / "store", "musetools", small)


def test_unknown_choices(tmp_path, small):
    with pytest.raises(ParameterError, match="float32, float16; got 'float64'"):
        FeatureStore.create(tmp_path / "store", "musetools", small, dtype="float64")
    with pytest.raises(ParameterError, match="musetalk-v2"):
        FeatureStore.create(tmp_path / "store", "musetalk-v2", small)
    assert not (tmp_path / "store").exists()


def test_a_store_that_was_not_finished_is_taken_up(tmp_path, small):
    """Killed between the folder and its store.json: F1 asks that a rerun goes on."""
    make_store(tmp_path / "store", small)
    (tmp_path / "store" / "store.json").unlink()
    FeatureStore.create(tmp_path / "store", "musetools", small)


@pytest.mark.parametrize("missing", [".", "store.json", "manifest.jsonl"])
def test_no_store_there(tmp_path, small, missing):
    store = make_store(tmp_path / "store", small)
    os.rename(store.root / missing if missing != "." else store.root, tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"holds no store .*is missing.*FeatureStore\.create makes one"):
        FeatureStore.open(tmp_path / "store")


@pytest.mark.parametrize("name", ["store.json", "manifest.jsonl"])
def test_a_store_that_may_not_be_read(store, name):
    """A folder in a file's place, which nobody may read as a file: root may read all others."""
    (store.root / name).unlink()
    (store.root / name).mkdir()
    with pytest.raises(StoreError, match=rf"{name} cannot be read: Is a directory\. Change its permissions"):
        FeatureStore.open(store.root)


def test_a_file_is_no_store(sound):
    with pytest.raises(StoreError, match="speech"):
        FeatureStore.open(sound)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"format": 1}', "\0\0\0\0", "é".encode("latin-1")])
def test_a_damaged_making(store, text):
    (store.root / "store.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StoreError, match=r"store\.json cannot be read .*restore it from a copy"):
        FeatureStore.open(store.root)


def edit_provenance(store: FeatureStore, *path: str, value: object) -> FeatureStore:
    making = json.loads((store.root / "store.json").read_text(encoding="utf-8"))
    place = making
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (store.root / "store.json").write_text(json.dumps(making), encoding="utf-8")
    return FeatureStore.open(store.root)


def test_a_store_of_a_later_version(store):
    with pytest.raises(StoreError, match="format"):
        edit_provenance(store, "format", value=2)


# --- what is recorded


def test_a_record_says_what_is_known(full, sound):
    record, file = full.record("speech"), full.path("speech")
    assert (record.clip, record.rows, record.dtype) == ("speech", 75, "float32")
    assert (record.bytes, record.sha256) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
    assert (record.samples, record.duration_s) == (24_000, 1.5)
    assert (record.fps, record.rate, record.frames) == ("30000/1001", Fraction(30000, 1001), 44)
    assert record.source["path"] == str(sound)
    assert record.source["bytes"] == sound.stat().st_size
    assert record.source["sha256"] == hashlib.sha256(sound.read_bytes()).hexdigest()


def test_what_is_not_known_stays_open(full):
    assert (full.record("array").source, full.record("array").fps, full.record("array").frames) == (None, None, None)
    assert full.record("array").samples == 8000
    assert full.record("rows").samples == 320 * 60


@pytest.mark.parametrize(
    ("said", "kept"),
    [({}, (25, 20)), ({"fps": 25.0}, (25, 20)), ({"n_frames": 7}, (25, 7)), ({"fps": 50}, (50, None))],
)
def test_what_is_not_given_is_what_the_file_says(tmp_path, empty, small, said, kept):
    clip = write_media(tmp_path / "clip.mp4", speech(0.8), 44_100)
    record = empty.add("a", clip, small, **said)
    assert (record.rate, record.frames) == kept


def test_records_are_the_same_when_opened_again(full):
    again = FeatureStore.open(full.root)
    assert again.clips == full.clips == ("speech", "array", "rows") == tuple(full)
    assert [again.record(clip) for clip in again] == [full.record(clip) for clip in full]
    assert "speech" in again
    assert "breech" not in again


def test_a_record_is_one_line_of_json(full):
    lines = (full.root / "manifest.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["clip"] for line in lines] == list(full.clips)


def test_an_unknown_clip(full):
    with pytest.raises(StoreError, match="no clip 'breech' among the 3 in"):
        full["breech"]


def test_it_says_in_short_what_it_is(full):
    assert repr(full).startswith(f"FeatureStore({str(full.root)!r}: 3 clips, ")
    assert "float32, small" in repr(full)
    assert "<code>" in full._repr_html_()
    assert full.size_mib() * 2**20 == sum(path.stat().st_size for path in (full.root / "clips").iterdir())


# --- reading back


def test_a_clip_is_mapped_and_equals_audio2feat(full, sound, small):
    read = full["speech"]
    assert isinstance(read, np.memmap)
    assert not read.flags.writeable
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, audio2feat(sound, small, spec=QUICK))
    silence = np.zeros(8000, np.float32), 16_000
    np.testing.assert_array_equal(full["array"], audio2feat(silence, small, spec=QUICK))
    np.testing.assert_array_equal(full["rows"], rows_of("rows"))


def test_the_working_folder_may_change(store, monkeypatch, tmp_path):
    """Where it leads to another store under the same relative path, that one is not read."""
    monkeypatch.chdir(tmp_path)
    opened = FeatureStore.open("store")
    (tmp_path / "job").mkdir()
    shutil.copytree(store.root, tmp_path / "job" / "store")
    shutil.copy(store.path("b"), tmp_path / "job" / "store" / "clips" / "a.npy")
    monkeypatch.chdir(tmp_path / "job")
    np.testing.assert_array_equal(opened["a"], rows_of("a"))
    assert opened.verify().ok


def test_other_tools_can_read_a_clip(full):
    np.testing.assert_array_equal(np.load(full.path("rows"), allow_pickle=False), rows_of("rows"))


def test_float16_is_rounded_once(tmp_path, small, sound):
    store = FeatureStore.create(tmp_path / "store", QUICK, small, dtype="float16")
    assert store.add("speech", sound, small).dtype == "float16"
    np.testing.assert_array_equal(store["speech"], audio2feat(sound, small, spec=QUICK).astype(np.float16))
    assert store.verify().ok


def test_making_the_same_twice_gives_the_same_bytes(tmp_path, small, sound):
    files = []
    for name in ("one", "two"):
        store = FeatureStore.create(tmp_path / name, QUICK, small)
        store.add("speech", sound, small, fps=25)
        files.append([(store.root / file).read_bytes() for file in ("manifest.jsonl", "store.json")])
        files[-1].append(store.path("speech").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 0, 53], [0, 60]])
def test_rows_in_blocks(tmp_path, small, sizes):
    store, blocks = make_store(tmp_path / "store", small), np.split(rows_of("a"), np.cumsum(sizes)[:-1])
    assert store.add_rows("a", iter(blocks)).rows == 60
    np.testing.assert_array_equal(store["a"], rows_of("a"))


ORDERS = {
    "Fortran order": np.asfortranarray,
    "every second column": lambda rows: np.repeat(rows, 2, axis=2)[..., ::2],
    "backwards": lambda rows: rows[::-1].copy()[::-1],
    "transposed": lambda rows: np.ascontiguousarray(rows.T).T,
    "big-endian": lambda rows: rows.astype(">f4"),
    "float64": lambda rows: rows.astype(np.float64),
    "long double": lambda rows: rows.astype(np.longdouble),
    "read-only": lambda rows: np.broadcast_to(rows, rows.shape),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_rows_in_any_layout(tmp_path, small, order, dtype):
    store = make_store(tmp_path / "store", small, dtype=dtype)
    store.add_rows("a", order(rows_of("a")))
    np.testing.assert_array_equal(store["a"], rows_of("a").astype(dtype))
    assert (
        store.path("a").read_bytes() == make_store(tmp_path / "plain", small, "a", dtype=dtype).path("a").read_bytes()
    )


def spoiled(place: tuple, value: float) -> np.ndarray:
    rows = rows_of("a")
    rows[place] = value
    return rows


REFUSED = {
    "NaN": ("float32", [spoiled((37, 1, 5), np.nan)], "row 37 is not finite as float32"),
    "infinity in a later block": ("float32", [rows_of("a"), spoiled((2, 0, 0), np.inf)], "row 62 is not finite"),
    "too large for float16": ("float16", [spoiled((3, 1, 63), 70_000)], "row 3 is not finite as float16.*use float32"),
    "too large for float32": ("float32", [rows_of("a").astype(float) * 1e300], "row 0 is not finite as float32"),
    "two dimensions": ("float32", [rows_of("a")[0]], r"rows must be float \(n, 2, 64\); got float32 \(2, 64\)"),
    "another width": ("float32", [rows_of("a")[..., :63]], r"got float32 \(60, 2, 63\)"),
    "integers": ("float32", [np.zeros((3, *SHAPE), int)], "got int64"),
    "text": ("float32", ["rows"], "rows must be float"),
}


@pytest.mark.parametrize(("dtype", "rows", "message"), REFUSED.values(), ids=REFUSED)
def test_rows_that_are_refused(tmp_path, small, dtype, rows, message):
    store = make_store(tmp_path / "store", small, "b", dtype=dtype)
    rows = rows if len(rows) > 1 or isinstance(rows[0], str) else rows[0]
    with pytest.raises(ParameterError, match=message):
        store.add_rows("a", rows)
    assert FeatureStore.open(store.root).clips == ("b",)
    assert os.listdir(store.root / "clips") == ["b.npy"]


def test_counts_from_numpy(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    store.add_rows("a", rows_of("a"), np.int64(19_200), fps=np.float32(25), n_frames=np.int64(30))
    assert (FeatureStore.open(store.root).record("a").frames, store.record("a").rate) == (30, 25)


def test_a_source_that_fails_leaves_no_trace(tmp_path, small):
    store = make_store(tmp_path / "store", small, "b")
    for source, error in (((np.zeros(300, np.float32), 16_000), AudioError), (tmp_path / "none.wav", AudioError)):
        with pytest.raises(error):
            store.add("a", source, small)
    with pytest.raises(ParameterError, match="fps must be"):
        store.add_rows("a", rows_of("a"), fps=0)
    assert FeatureStore.open(store.root).clips == ("b",)
    assert os.listdir(store.root / "clips") == ["b.npy"]


UNKEPT = {
    "frames": {"n_frames": -5},
    "more frames than a float tells apart": {"n_frames": 10**300},
    "samples": {"n_samples": -3},
    "no text": {"source": {"path": 5}},
    "no JSON": {"source": {"path": Path("a.wav")}},
}


@pytest.mark.parametrize(("name", "value"), [("frames", -5), ("samples", -3), ("source", "a.wav")])
def test_what_no_record_can_keep_is_named(store, name, value):
    known = {{"frames": "n_frames", "samples": "n_samples"}.get(name, name): value}
    with pytest.raises(ParameterError, match=rf"'new' cannot be kept: {name} is not what is expected: '?{value}"):
        store.add_rows("new", rows_of("z"), **known)


@pytest.mark.parametrize("known", UNKEPT.values(), ids=UNKEPT)
@pytest.mark.parametrize("clip", ["a", "new"])
def test_what_no_record_can_keep_is_refused_before_anything_is_replaced(store, clip, known):
    before = contents(store.root)
    with pytest.raises(ParameterError, match=rf"what is said of clip '{clip}' cannot be kept: .*Mend it"):
        store.add_rows(clip, rows_of("z"), replace=True, **known)
    assert contents(store.root) == before
    assert FeatureStore.open(store.root).verify().ok


# --- never mixed


def test_another_encoder_is_refused(store, small, sound):
    other = encoder_of(small_weights(seed=1))
    with pytest.raises(StoreError, match=r"encoder.fingerprint: .*Never mix: use a new store") as caught:
        store.add("speech", sound, other)
    assert small.fingerprint in str(caught.value)
    assert other.fingerprint in str(caught.value)
    assert "speech" not in FeatureStore.open(store.root)


def test_another_shape_and_precision_are_named(store, small, sound, weights):
    with pytest.raises(StoreError, match=r"encoder.n_layers: 2 in the store, 3 now"):
        store.add("speech", sound, encoder_of(small_weights(n_layer=2)))
    with pytest.raises(StoreError, match=r"encoder.dtype: float32 in the store, bfloat16 now"):
        store.add("speech", sound, Encoder("small", weights, small.device, "bfloat16"))


def test_the_same_weights_under_another_name_will_do(store, small, weights):
    store.check_provenance(Encoder("tiny-copy.pt", weights, small.device, "float32"))


@pytest.mark.parametrize("library", ["torch", "numpy", "openai-whisper", "musetools", "av"])
def test_another_library_is_refused(store, small, sound, library):
    ours, old = store.provenance["libraries"][library], edit_provenance(store, "libraries", library, value="0.0.1")
    with pytest.raises(StoreError, match=f"libraries.{library}: 0.0.1 in the store, {re.escape(ours)} now") as caught:
        old.add("speech", sound, small)
    assert str(store.root) in str(caught.value)
    np.testing.assert_array_equal(old["a"], rows_of("a"))  # what is there can still be read


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("features", "decoder"), "librosa"),
        (("features", "mel_peak"), "file"),
        (("features", "final_norm"), False),
        (("features", "window", "hop_s"), 20),
        (("features", "window", "positions"), "clip"),
        (("dtype",), "float16"),
    ],
)
def test_a_store_of_another_making_is_not_merged(tmp_path, small, store, path, value):
    other = edit_provenance(make_store(tmp_path / "other", small), *path, value=value)
    with pytest.raises(StoreError, match=f"{path[-1]}: .* in the store, {value} now"):
        store.merge(other)


# --- ids


GOOD_IDS = [
    "a",
    "0",
    "_x",
    "voice_a.m4a",
    "a b",
    "{a}",
    "é",
    "第一课",
    "🎬 take 1",
    "-rf",
    "a" * 120,
    "字" * 120,
    "con",
]


@pytest.mark.parametrize("clip", GOOD_IDS)
def test_ids_that_are_taken(tmp_path, small, clip):
    store = make_store(tmp_path / "store", small, [clip])
    again = FeatureStore.open(store.root)
    assert again.clips == (clip,)
    np.testing.assert_array_equal(again[clip], rows_of(clip))
    assert again.path(clip).parent == store.root / "clips"
    assert again.verify().ok


BAD_IDS = [
    "..",
    ".",
    "",
    "../x",
    "a/../../x",
    "/etc/x",
    "a/b",
    "a\\b",
    "a\0b",
    "C:",
    "C:x",
    ".hidden",
    "a.",
    " a",
    "a ",
]
BAD_IDS += ["a\nb", "a\x1b[2J", "x" * 300, "x" * 121, "what?", "a*", "a|b", '"', "a\u202eb", "\udcff", 7, None, b"a"]


@pytest.mark.parametrize("clip", BAD_IDS, ids=ascii)
def test_ids_that_are_refused(store, clip):
    before = sorted(store.root.parent.rglob("*"))
    with pytest.raises(StoreError, match=r"is no clip id: .*Name it otherwise") as caught:
        store.add_rows(clip, rows_of("x"))
    assert len(str(caught.value)) < 400
    assert sorted(store.root.parent.rglob("*")) == before


TWINS = [("clip", "CLIP"), ("é", "e\u0301"), ("Straße", "STRASSE"), ("É", "e\u0301"), ("ﬁlm", "FILM"), ("ς", "Σ")]


@pytest.mark.parametrize("pair", TWINS + [pair[::-1] for pair in TWINS], ids=ascii)
def test_ids_that_a_file_system_may_take_for_one(tmp_path, small, pair):
    store = make_store(tmp_path / "store", small, pair[:1])
    for opened in (store, FeatureStore.open(store.root)):
        for again in (False, True):
            with pytest.raises(StoreError, match=r"differs from .* in case or Unicode form only"):
                opened.add_rows(pair[1], rows_of(pair[1]), replace=again)
    np.testing.assert_array_equal(store[pair[0]], rows_of(pair[0]))
    assert unicodedata.normalize("NFC", pair[0]).casefold() == unicodedata.normalize("NFC", pair[1]).casefold()


def test_an_id_that_is_another_ones_file(tmp_path, small):
    name = file_name("é").removesuffix(".npy")
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    for clip in ("é", name):
        try:
            store.add_rows(clip, rows_of(clip))
        except StoreError:
            assert clip == name  # it may be refused, too
    for clip in store:
        np.testing.assert_array_equal(store[clip], rows_of(clip))


LETTERS = st.sampled_from("aAbé́ÉßſK._- 字") | st.characters()


@given(st.text(LETTERS, max_size=8), st.text(LETTERS, max_size=8))
@example("..", "é")
def test_every_id_is_refused_or_a_plain_file_of_its_own(one, other):
    names = []
    for clip in (one, other):
        try:
            names.append(file_name(check_clip_id(clip)))
        except StoreError:
            return
    for name in names:
        assert name.isascii()
        assert len(name) <= 124
        assert os.path.basename(name) == name
        assert name[0] != "."
    if unicodedata.normalize("NFC", one).casefold() != unicodedata.normalize("NFC", other).casefold():
        assert names[0].casefold() != names[1].casefold()


# --- taken ids


def test_an_id_that_is_taken(store, small, sound):
    for add in (lambda: store.add_rows("a", rows_of("z")), lambda: store.add("a", sound, small)):
        with pytest.raises(StoreError, match=r"clip 'a' is in .* already. Pass replace=True"):
            add()
    np.testing.assert_array_equal(store["a"], rows_of("a"))


def test_a_reader_keeps_what_was_replaced(store):
    reader = FeatureStore.open(store.root)["a"]
    store.add_rows("a", rows_of("z", 6000), replace=True)
    np.testing.assert_array_equal(reader, rows_of("a"))
    np.testing.assert_array_equal(store["a"], rows_of("z", 6000))
    again = FeatureStore.open(store.root)
    np.testing.assert_array_equal(again["a"], rows_of("z", 6000))
    assert len(again) == 4
    assert again.verify().ok
    assert again.verify().orphans == ()


def test_a_store_that_is_behind_says_what_happened(store):
    behind = FeatureStore.open(store.root)
    store.add_rows("a", rows_of("z"), replace=True)
    with pytest.raises(StoreError, match=r"clip 'a' was replaced since .*: open the store again"):
        behind["a"]
    np.testing.assert_array_equal(FeatureStore.open(store.root)["a"], rows_of("z"))


def test_two_handles_replace_in_turn(store):
    """Each is behind the other, neither loses what it wrote nor leaves what it replaced."""
    handles = store, FeatureStore.open(store.root)
    for turn in range(5):
        handles[turn % 2].add_rows("a", rows_of(f"turn {turn}", 10 + turn), replace=True)
        again = FeatureStore.open(store.root)
        np.testing.assert_array_equal(again["a"], rows_of(f"turn {turn}", 10 + turn))
        assert again.verify().ok
        assert again.verify().orphans == ()


# --- merging


def test_merging_brings_what_is_missing(tmp_path, small, store):
    other = make_store(tmp_path / "other", small, ["c", "d", "é", "e"])
    assert store.merge(other) == 2
    assert store.merge(other) == 0
    again = FeatureStore.open(store.root)
    assert again.clips == ("a", "b", "c", "d", "é", "e")
    assert all(np.array_equal(again[clip], rows_of(clip)) for clip in again)
    assert again.verify().ok
    assert [again.record(clip) for clip in other] == [other.record(clip) for clip in other]


def test_what_another_handle_has_merged_is_there(tmp_path, small, store):
    other, behind = make_store(tmp_path / "other", small, "ef"), FeatureStore.open(store.root)
    assert store.merge(other) == 2
    assert behind.merge(other) == 0
    assert behind.clips == tuple("abcdef")


def test_what_was_added_to_the_other_meanwhile_is_merged(tmp_path, small, store):
    behind = make_store(tmp_path / "other", small, "e")
    add_all(behind.root, "f")
    assert store.merge(behind) == 2
    np.testing.assert_array_equal(store["f"], rows_of("f"))


def test_a_path_is_not_merged(store):
    with pytest.raises(ParameterError, match=r"a FeatureStore is needed; got '.*'\. Open it: musetools\.FeatureStore"):
        store.merge(str(store.root))


def test_merging_with_itself(store):
    assert store.merge(FeatureStore.open(store.root)) == 0


def test_other_clips_of_one_id_are_not_merged(tmp_path, small, store):
    other = make_store(tmp_path / "other", small, ["new"])
    other.add_rows("a", rows_of("z"))
    with pytest.raises(StoreError, match="both stores have other clips called 'a': rename or remove one"):
        store.merge(other)
    assert store.clips == tuple("abcd")


def test_twins_are_not_merged(tmp_path, small, store):
    with pytest.raises(StoreError, match="both stores have other clips called 'A'"):
        store.merge(make_store(tmp_path / "other", small, ["A"]))


@pytest.mark.parametrize("damage", ["a flipped bit", "truncated", "missing"])
def test_a_damaged_clip_is_not_merged(tmp_path, small, store, damage):
    other = make_store(tmp_path / "other", small, ["e", "f"])
    path, content = other.path("f"), bytearray(other.path("f").read_bytes())
    content[1000] ^= 1
    path.write_bytes(content if damage == "a flipped bit" else content[:-1])
    if damage == "missing":
        path.unlink()
    with pytest.raises(StoreError, match="clip 'f'"):
        store.merge(other)
    assert FeatureStore.open(store.root).clips == (*"abcd", "e")
    assert store.verify().ok
    assert store.verify().orphans == ()


def test_a_manifest_that_climbs_out_of_its_folder(tmp_path, store):
    """A line whose file lies elsewhere is dropped: neither is that file read, nor does a repair remove it."""
    secret = tmp_path / "secret.npy"
    secret.write_bytes(store.path("a").read_bytes())
    line = json.dumps(asdict(replace(store.record("a"), clip="x", file="../../secret.npy")))
    with open(store.root / "manifest.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.warns(UserWarning, match="truncated line"):
        opened = FeatureStore.open(store.root)
    assert "x" not in opened
    secret.write_bytes(b"")
    opened.verify(repair=True)
    assert secret.exists()


def test_whispers_own_shape(tmp_path, encoder):
    store = FeatureStore.create(tmp_path / "store", "musetools", encoder)
    assert store.row_shape == (5, 384)
    store.check_provenance(load_encoder("untrained-tiny", device="cpu"))


def test_a_store_of_an_earlier_version_opens(store, small):
    """It called padding fill."""
    path = store.root / "store.json"
    path.write_text(path.read_text().replace('"padding"', '"fill"').replace('"keep_padding"', '"keep_fill"'))
    opened = FeatureStore.open(store.root)
    assert opened.spec == store.spec
    opened.check_provenance(small)


def test_damage_while_a_clip_is_merged_is_seen(tmp_path, small, store, monkeypatch):
    other = make_store(tmp_path / "other", small, ["new"])
    real = shutil.copyfileobj

    def copies_wrongly(source, target):
        real(source, target)
        target.seek(-1, os.SEEK_END)
        target.write(b"\x55")

    monkeypatch.setattr(shutil, "copyfileobj", copies_wrongly)
    with pytest.raises(StoreError, match=r"'new' of .* is damaged"):
        store.merge(other)
    assert "new" not in FeatureStore.open(store.root)
