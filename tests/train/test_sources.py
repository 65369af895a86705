"""What an extraction is given: tables, globs, shards, folders that are closed."""

from fractions import Fraction
from pathlib import Path

import pytest

from musetools import ParameterError
from musetools.files import find_media
from musetools.train.sources import find_clips, in_shard


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("a.wav", "talks/b.mp4", "talks/c.wav", "talks/deep/b.mp4", "talks/n.txt", "more/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


GLOBS = {
    "talks/*": ["b.mp4", "c.wav", "deep__b.mp4"],  # a folder that matches is searched
    "talks/*.mp4": ["b.mp4"],
    "**/*.mp4": ["more__b.mp4", "talks__b.mp4", "talks__deep__b.mp4"],
    "[am]*": ["a.wav", "more__b.mp4"],
}


@pytest.mark.parametrize(("glob", "names"), GLOBS.items())
def test_a_glob_names_clips_by_their_place_below_it(tree, monkeypatch, glob, names):
    assert [clip for clip, _ in find_media([tree / glob])] == names
    monkeypatch.chdir(tree)
    assert [clip for clip, _ in find_media(glob)] == names


def test_a_folder_with_the_letters_of_a_glob_is_a_folder(tree):
    (tree / "a[1]").mkdir()
    (tree / "a[1]" / "x.wav").touch()
    assert [clip for clip, _ in find_media([tree / "a[1]"])] == ["x.wav"]
    assert [clip for clip, _ in find_media([tree / "a[1]" / "x.wav"])] == ["x.wav"]


def test_a_glob_without_a_match(tree):
    with pytest.raises(ParameterError, match=r"no media file .* in .*\*\.mkv"):
        find_media([tree / "*.mkv"])


# --- tables

TABLE = (
    "clip,fps,path,frames,speaker\n,29.97,talks/b.mp4,,x\nmine,25,more/b.mp4,50.0,y\n\n,30000/1001,{root}/a.wav,9,\n"
)


def test_a_table_knows_frame_rates_and_counts(tree):
    (tree / "list.csv").write_text("\ufeff" + TABLE.format(root=tree), encoding="utf-8")
    clips = find_clips(tree / "list.csv")[0]
    assert [clip.clip for clip in clips] == ["talks__b.mp4", "mine", "a.wav"]
    assert [clip.path for clip in clips] == [tree / "talks/b.mp4", tree / "more/b.mp4", tree / "a.wav"]
    assert [clip.fps for clip in clips] == [Fraction(30000, 1001), 25, Fraction(30000, 1001)]
    assert [clip.n_frames for clip in clips] == [None, 50, 9]


def test_csv_and_parquet_say_the_same(tree):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra corpus")
    from pyarrow import parquet

    (tree / "list.csv").write_text(TABLE.format(root=tree))
    columns = {
        "path": ["talks/b.mp4", "more/b.mp4", f"{tree}/a.wav"],
        "clip": [None, "mine", None],
        "fps": ["29.97", "25", "30000/1001"],
        "frames": [None, 50, 9],
    }
    parquet.write_table(pyarrow.table(columns), tree / "list.parquet")
    assert find_clips([tree / "list.parquet"])[0] == find_clips([tree / "list.csv"])[0]


def test_a_table_beside_a_folder(tree):
    (tree / "list.csv").write_text("path\nmore/b.mp4\n")
    assert [clip.clip for clip in find_clips([tree / "list.csv", tree / "talks"])[0]] == [
        "b.mp4",
        "c.wav",
        "deep__b.mp4",
        "more__b.mp4",
    ]


BAD_TABLES = {
    "path,fps\na.wav,abc\n": r"list.csv, line 2: .*abc",
    "path,fps\na.wav,25\nb.wav,0\n": r"line 3: fps must be",
    "path,frames\na.wav,1.5\n": r"line 2: frames must be a whole number; got 1.5",
    "path,frames\na.wav,-1\n": r"line 2: frames must be",
    "path,fps\na.wav,1/0\n": r"line 2: ",
    "file\na.wav\n": r"line 2: it has no path. Its columns are file; expected",
    "path,fps\na.wav,29,97\n": r"line 2: it has 1 cells more than there are columns",
    "path,fps\n,25\n": r"line 2: it has no path",
    "path\n": "names no clip",
    "": "names no clip",
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.items())
def test_a_table_that_cannot_be_used(tree, text, message):
    (tree / "list.csv").write_text(text)
    with pytest.raises(ParameterError, match=message):
        find_clips([tree / "list.csv"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_no_table(tree, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra corpus")
    (tree / f"list{suffix}").write_bytes(b"\xff\xfe\x00PAR")
    with pytest.raises(ParameterError, match="cannot be read"):
        find_clips([tree / f"list{suffix}"])


# --- shards


def test_shards_take_each_clip_once_and_do_not_depend_on_the_others():
    clips = find_clips({f"clip {k}": f"{k}.wav" for k in range(1000)})[0]
    shards = [in_shard(clips, f"{k}/7") for k in range(1, 8)]
    assert sorted(clip.clip for shard in shards for clip in shard) == sorted(clip.clip for clip in clips)
    assert min(map(len, shards)) > 100
    assert in_shard(clips[500:], "3/7") == [clip for clip in shards[2] if clip in clips[500:]]
    assert in_shard(clips, None) == in_shard(clips, "1/1") == clips
    # for ever: a job array that is run again takes what it took
    assert [clip.clip for clip in in_shard(clips[:20], "1/4")] == [f"clip {k}" for k in (0, 1, 2, 4, 7, 14, 15, 18)]


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4 "])
def test_what_is_no_shard(shard):
    with pytest.raises(ParameterError, match="a shard is i/n with i from 1 to n"):
        in_shard([], shard)
