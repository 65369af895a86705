"""Many files into a store: the bad ones are told, the rest is there, and a rerun adds what is missing."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from broken import with_sound
from checkpoints import small_weights
from click.testing import CliRunner
from media import speech, write_media, write_silent_film
from oracles import encoder_of
from stores import QUICK, contents, extract_all, killed_at

from musetools import AudioError, ExtractReport, FeatureStore, ParameterError, StoreError, audio2feat, extract
from musetools.cli import main
from musetools.errors import MissingExtraError
from musetools.features import fastest
from musetools.files import find_media

GOOD = {"a.wav": 1.0, "b.flac": 0.8, "c.mp4": 1.2, "d.m4a": 0.6}  # seconds
BAD = {"corrupt.mp4": "corrupt", "empty.wav": "0 bytes", "silent.mp4": "no audio stream", "text.wav": "no media file"}


def write_good(folder: Path) -> None:
    for name, seconds in GOOD.items():
        write_media(folder / name, speech(seconds), 44_100)


def write_bad(folder: Path) -> None:
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("I am not a sound.\n" * 50)
    (folder / "corrupt.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    write_silent_film(folder / "silent.mp4")


@pytest.fixture
def good(tmp_path) -> Path:
    folder = tmp_path / "good"
    folder.mkdir()
    write_good(folder)
    return folder


def run(sources, store: FeatureStore, encoder) -> ExtractReport:
    return extract(sources, store, encoder, progress=False)


def kept(store: FeatureStore) -> dict:
    """Read the report that lies in a store."""
    return json.loads((store.root / "report.json").read_bytes().decode())


# --- good and bad files


def test_the_good_are_there_and_the_bad_are_told(good, empty, small):
    write_bad(good)
    (good / "notes.txt").write_text("no media by its name")
    report = run([good], empty, small)
    assert not report.ok
    assert report.added == list(GOOD)
    assert report.skipped == []
    assert {Path(path).name for path in report.failed} == set(BAD)
    for path, reason in report.failed.items():
        assert BAD[Path(path).name] in reason
        assert path in reason
    assert len(report.added) + len(report.failed) == len(find_media([good]))
    assert kept(empty)["failed"] == report.failed
    assert repr(report).splitlines()[0].startswith("4 added, 0 there already, 4 failed; 1 file passed over: 1 .txt")
    assert FeatureStore.open(empty.root).clips == tuple(GOOD)
    assert empty.verify().ok
    assert empty.verify().orphans == ()


def test_what_is_extracted_is_audio2feat_and_what_its_file_says(good, empty, small):
    run([good], empty, small)
    for clip, seconds in GOOD.items():
        np.testing.assert_array_equal(empty[clip], audio2feat(good / clip, small, spec=QUICK))
        record, content = empty.record(clip), (good / clip).read_bytes()
        assert record.duration_s == pytest.approx(seconds, abs=0.1)
        assert (record.source["path"], record.source["bytes"]) == (str(good / clip), len(content))
    assert (empty.record("c.mp4").rate, empty.record("c.mp4").frames) == (25, 30)
    assert (empty.record("a.wav").rate, empty.record("a.wav").frames) == (None, None)


def test_the_frame_rate_of_a_film(empty, small):
    data = Path(__file__).resolve().parents[2] / "data"
    run([data / "talker_2997.mp4"], empty, small)
    record = empty.record("talker_2997.mp4")
    assert (record.rate, record.frames) == (Fraction(30000, 1001), 360)


def test_a_rerun_skips_what_is_there(good, empty, small):
    write_bad(good)
    run([good], empty, small)
    before = contents(empty.root)
    report = run([good], FeatureStore.open(empty.root), small)
    assert (report.added, report.skipped) == ([], list(GOOD))
    assert len(report.failed) == len(BAD)
    assert contents(empty.root) == before
    (good / "empty.wav").write_bytes((good / "a.wav").read_bytes())  # mended
    report = run([good], empty, small)
    assert report.added == ["empty.wav"]
    assert len(report.failed) == len(BAD) - 1
    assert kept(empty)["failed"] == report.failed


def test_a_clip_that_repair_put_aside_is_made_again(good, empty, small):
    run([good], empty, small)
    empty.path("b.flac").write_bytes(b"")
    empty.verify(repair=True)
    assert run([good], empty, small).added == ["b.flac"]
    assert FeatureStore.open(empty.root).verify().ok


def test_a_touched_file_is_the_same(good, empty, small):
    run([good], empty, small)
    os.utime(good / "a.wav", ns=(1, 1))
    report = run([good], empty, small)
    assert report.ok
    assert report.skipped == list(GOOD)


@pytest.mark.parametrize("seconds", [0.9, 1.0])  # another length; as long, but something else is said
def test_a_file_that_has_changed_is_made_again_and_that_is_said(good, empty, small, seconds):
    run([good], empty, small)
    write_media(good / "a.wav", speech(3)[-int(seconds * 44_100) :], 44_100)
    report = run([good], empty, small)
    assert (report.ok, report.added, report.remade, len(report.skipped)) == (True, [], ["a.wav"], 3)
    assert "1 made again, as their file or table has changed: a.wav" in repr(report)
    np.testing.assert_array_equal(empty["a.wav"], audio2feat(good / "a.wav", small, spec=QUICK))
    assert empty.record("a.wav").duration_s == seconds
    assert (empty.verify().ok, empty.verify().orphans) == (True, ())
    assert run([good], empty, small).skipped == list(GOOD)


def test_a_file_that_has_changed_for_the_worse_leaves_what_was_made_of_it_and_that_is_said(good, empty, small):
    extract(good, empty, small, progress=False)
    before = empty["a.wav"].copy()
    (good / "a.wav").write_bytes(b"RIFF no more" * 100)
    report = extract(good, empty, small, progress=False)
    assert "the store keeps what was made of the former file" in repr(report)
    np.testing.assert_array_equal(empty["a.wav"], before)


def test_a_clip_that_is_refused_is_left_out_with_the_reason(good, empty, small):
    """Each clip that is to be made is asked about once; those that are there are not."""
    asked = []

    def refuse(path: Path) -> str | None:
        asked.append(path.name)
        return "By the lips sound 300 ms late" if path.name == "c.mp4" else None

    report = extract(good, empty, small, refuse=refuse, progress=False)
    assert report.failed == {str(good / "c.mp4"): "By the lips sound 300 ms late"}
    assert asked == list(GOOD)
    extract(good, empty, small, refuse=refuse, progress=False)
    assert asked == [*GOOD, "c.mp4"]


def test_an_error_of_whoever_refuses_leaves_its_clip_out(good, empty, small):
    def refuse(path: Path) -> str | None:
        if path.name == "c.mp4":
            raise AudioError("no lips can be read")

    report = extract(good, empty, small, refuse=refuse, progress=False)
    assert report.failed == {str(good / "c.mp4"): "no lips can be read"}
    assert len(report.added) == 3


def test_a_check_that_cannot_run_ends_the_extraction(good, empty, small):
    """No clip is to blame for an extra that is missing."""

    def refuse(path: Path) -> str | None:
        raise MissingExtraError("lips need MediaPipe")

    with pytest.raises(MissingExtraError, match="lips need MediaPipe"):
        extract(good, empty, small, refuse=refuse, progress=False)
    assert len(empty) == 0


def test_lips_are_asked_by_the_command(good, empty, checkpoint, monkeypatch):
    def says(encoder: object, **tracks: int | None) -> nullcontext:
        return nullcontext(lambda path: f"{path.name}: {tracks}")

    monkeypatch.setattr("musetools.lips.folder.lips_errors", says)
    given = [
        "extract",
        str(good / "a.wav"),
        "--store",
        str(empty.root),
        "--encoder",
        str(checkpoint),
        "--lips",
    ]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 1
    assert "a.wav: {'audio_track': None, 'video_track': None}" in done.output


def test_another_file_of_a_name_that_is_taken_is_refused(good, empty, small):
    run([good / "a.wav"], empty, small)
    report = run({"a.wav": good / "b.flac"}, empty, small)
    assert "clip 'a.wav' was made of another file" in report.failed[str(good / "b.flac")]
    assert "name this one otherwise" in report.failed[str(good / "b.flac")]
    assert empty.record("a.wav").duration_s == 1


def test_another_file_of_the_same_name_size_and_time_is_refused(tmp_path, empty, small):
    for folder, sound in (("one", speech(0.5)), ("two", -speech(0.5))):
        (tmp_path / folder).mkdir()
        write_media(tmp_path / folder / "a.wav", sound, 44_100)
        os.utime(tmp_path / folder / "a.wav", (0, 0))  # as an archive may set it for all
    report = run([tmp_path / "one", tmp_path / "two"], empty, small)
    assert (report.added, report.skipped) == (["a.wav"], [])
    assert "clip 'a.wav' was made of another file" in report.failed[str(tmp_path / "two" / "a.wav")]
    (tmp_path / "one").rename(tmp_path / "moved")
    assert run([tmp_path / "moved"], empty, small).skipped == ["a.wav"]


def test_a_file_that_went_away_fails_alone(good, empty, small):
    sources = {name: good / name for name in GOOD}
    run(sources, empty, small)
    (good / "b.flac").unlink()
    (good / "c.mp4").unlink()
    (good / "c.mp4").mkdir()
    report = run(sources, empty, small)
    assert set(report.failed) == {str(good / "b.flac"), str(good / "c.mp4")}
    assert report.skipped == ["a.wav", "d.m4a"]


def test_a_file_that_may_not_be_read_fails_alone(good, empty, small, monkeypatch):
    from musetools.train import pipeline, provenance

    def closed(path, mode="r", **how):
        if Path(path).name == "b.flac":
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, mode, **how)

    monkeypatch.setattr(provenance, "open", closed, raising=False)
    monkeypatch.setattr(pipeline, "open", closed, raising=False)
    report = run([good], empty, small)
    assert list(report.failed) == [str(good / "b.flac")]
    assert "Permission denied" in report.failed[str(good / "b.flac")]
    assert len(report.added) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="names here are bytes")
def test_a_name_that_is_not_utf8_fails_alone(good, empty, small):
    os.rename(good / "b.flac", os.fsencode(good) + b"/caf\xe9.flac")
    report = run([good], empty, small)
    assert report.added == ["a.wav", "c.mp4", "d.m4a"]
    assert len(report.failed) == 1
    assert kept(empty)["failed"] == report.failed
    repr(report).encode()  # it can be printed


def test_a_store_of_another_making_is_refused_at_once(good, empty):
    with pytest.raises(StoreError, match=r"encoder.fingerprint"):
        run([good], empty, encoder_of(small_weights(seed=1)))
    assert not (empty.root / "report.json").exists()


# --- names


def test_a_path_is_no_store(good, empty, small):
    with pytest.raises(ParameterError, match=r"a FeatureStore is needed; got .*Open it: musetools\.FeatureStore"):
        run([good], empty.root, small)


def test_a_number_is_no_id_in_shards_either(good, empty, small):
    reports = [extract({7: good / "a.wav"}, empty, small, shard=f"{k}/2", progress=False) for k in (1, 2)]
    assert "7 is no clip id" in "".join(reason for report in reports for reason in report.failed.values())


def test_a_mapping_names_its_clips(good, empty, small):
    report = run({"Aé": good / "a.wav", "../x": good / "b.flac", "none": good / "none.wav"}, empty, small)
    assert report.added == ["Aé"]
    assert set(report.failed) == {str(good / "b.flac"), str(good / "none.wav")}
    np.testing.assert_array_equal(empty["Aé"], audio2feat(good / "a.wav", small, spec=QUICK))


def test_the_same_names_in_two_folders(tmp_path, empty, small):
    for folder, seconds in (("one", 0.5), ("two", 0.7)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        write_media(tmp_path / "in" / folder / "a.wav", speech(seconds), 44_100)
    report = run([tmp_path / "in"], empty, small)
    assert report.added == ["one__a.wav", "two__a.wav"]
    assert [empty.record(clip).duration_s for clip in empty] == [0.5, 0.7]
    report = run([tmp_path / "in" / "one", tmp_path / "in" / "two"], empty, small)
    assert report.added == ["a.wav"]
    assert list(report.failed) == [str(tmp_path / "in" / "two" / "a.wav")]


def test_media_are_found_in_one_order(tmp_path):
    names = ("b.wav", "a/z.MP4", "a.b/c.wav", "a/10.flac", "a/9.flac", "B.wav", "é.wav", "x y {1}.m4a", "n.txt")
    for name in (*names, ".Trash/x.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    found = find_media([tmp_path])
    assert [path for _, path in found] == sorted(path for _, path in found)
    names = ["B.wav", "a__10.flac", "a__9.flac", "a__z.MP4", "a.b__c.wav", "b.wav", "gone.wav", "x y {1}.m4a", "é.wav"]
    assert [clip for clip, _ in found] == names
    assert find_media(str(tmp_path)) == find_media(iter([tmp_path])) == found


def test_links_to_folders_are_followed_but_in_no_circle(tmp_path):
    for name in ("in/own.wav", "elsewhere/a/x.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for link, folder in (("in/more", "elsewhere"), ("in/up", "in"), ("elsewhere/a/back", "in"), ("root", "in")):
        (tmp_path / link).symlink_to(tmp_path / folder, target_is_directory=True)
    for root in ("in", "root"):
        assert [clip for clip, _ in find_media([tmp_path / root])] == ["more__a__x.wav", "own.wav"]


def test_files_come_as_they_are_named(good):
    (good / "sound.xyz").touch()
    found = find_media([good / "d.m4a", good / "sound.xyz", str(good / "a.wav")])
    assert [clip for clip, _ in found] == ["d.m4a", "sound.xyz", "a.wav"]
    with pytest.raises(ParameterError, match=r"no file or folder .*none; the working folder is "):
        find_media([good, good / "none"])


# --- killed


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, small, checkpoint) -> tuple[Path, dict[str, bytes]]:
    """A folder of media, and everything in the store that is made of it without a kill."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "media").mkdir()
    write_good(folder / "media")
    FeatureStore.create(folder / "store", QUICK, small)
    extract_all(folder / "media", folder / "store", checkpoint)
    return folder / "media", contents(folder / "store")


@pytest.mark.parametrize("step", [3, 9])
def test_killed_and_run_again(empty, checkpoint, uninterrupted, step):
    """The same bytes as without the kill; five steps on the disk make a clip."""
    media, whole = uninterrupted
    assert killed_at(step, extract_all, media, empty.root, checkpoint)
    assert len(FeatureStore.open(empty.root)) in (step // 5, step // 5 + 1)
    extract_all(media, empty.root, checkpoint)
    assert contents(empty.root) == whole


# --- the command


@pytest.fixture
def command(tmp_path, checkpoint):
    def call(*sources: Path, root: Path = tmp_path / "made {2} é", more: tuple[str, ...] = ()):
        given = ["extract", *map(str, sources), "--store", str(root), "--encoder", str(checkpoint), *more]
        return CliRunner().invoke(main, given)

    return call


def test_the_command_makes_a_store(tmp_path, good, command, small):
    result = command(good / "a.wav", good / "c.mp4", more=("--dtype", "float16", "--spec", "musetalk-v1"))
    assert result.exit_code == 0, result.output
    assert result.output.startswith("2 added, 0 there already, 0 failed\n")
    store = FeatureStore.open(tmp_path / "made {2} é")
    assert store.clips == ("a.wav", "c.mp4")
    expected = audio2feat(good / "a.wav", small, spec="musetalk-v1").astype(np.float16)
    np.testing.assert_array_equal(store["a.wav"], expected)
    result = command(good / "a.wav")
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "0 added, 1 there already, 0 failed")


def test_the_command_asks_auto_once(tmp_path, good, command, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    chosen = []
    for bfloat16 in (0.1, 0.9):
        monkeypatch.setattr(
            fastest, "_measure", lambda _, s=bfloat16: chosen.append(s) or {"float32": 0.2, "bfloat16": s}
        )
        result = command(good / "a.wav", good / "c.mp4", more=("--precision", "auto"))
        assert result.exit_code == 0, result.output
        assert ("by auto: a block takes float32 200 ms, bfloat16 100 ms" in result.output) == (bfloat16 == 0.1)
    assert chosen == [0.1]
    assert FeatureStore.open(tmp_path / "made {2} é").provenance["encoder"]["dtype"] == "bfloat16"
    result = command(good / "a.wav", more=("--precision", "float32"))
    assert result.exit_code == 1
    assert "dtype" in result.output


def test_the_command_tells_of_bad_files(tmp_path, command):
    folder = tmp_path / "films {new} 1"
    folder.mkdir()
    (folder / "text.wav").write_text("I am not a sound.\n" * 50)
    result = command(folder)
    assert result.exit_code == 1
    assert result.output.startswith("0 added, 0 there already, 1 failed\n")
    assert f"  {folder / 'text.wav'}: " in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("more", [("--spec", "musetalk-v1"), ("--dtype", "float16")])
def test_the_command_refuses_a_store_of_another_making(good, command, more):
    """F19: what was asked for is not what is there, so nothing is done in silence."""
    assert command(good / "d.m4a").exit_code == 0
    result = command(good / "d.m4a", more=more)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1


WRONG = {
    "a source that is not there": (lambda good: [good / "none"], ()),
    "an unknown spec": (lambda good: [good], ("--spec", "musetalk-v2")),
    "an unknown type": (lambda good: [good], ("--dtype", "int8")),
    "weights that are not there": (lambda good: [good], ("--encoder", "none.pt")),
    "a shard that is none": (lambda good: [good], ("--shard", "0/3")),
    "an unknown engine": (lambda good: [good], ("--engine", "dask")),
    "an unknown answer to errors": (lambda good: [good], ("--on-error", "ignore")),
    "an unknown recipe": (lambda good: [good], ("--check", "wav2lip")),
    "no source": (lambda good: [], ()),
    "an unknown option": (lambda good: [good], ("--workers", "2")),
}


@pytest.mark.parametrize(("sources", "more"), WRONG.values(), ids=WRONG)
def test_the_command_says_what_is_wrong_in_a_line_and_writes_nothing(tmp_path, good, command, sources, more):
    result = command(*sources(good), root=tmp_path / "store", more=more)
    assert not (tmp_path / "store").exists()
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.output
    assert result.output.count("\n") == 1 or "Usage: " in result.output


def test_a_folder_that_is_no_store(tmp_path, good, command):
    result = command(good, root=good)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "is not empty" in result.output
    assert sorted(path.name for path in good.iterdir()) == list(GOOD)


def test_the_command_in_a_process_of_its_own(tmp_path, checkpoint):
    folder, root = tmp_path / "films {new} 1", tmp_path / "the store"
    folder.mkdir()
    write_media(folder / "speech é.wav", speech(0.5), 44_100)
    (folder / "empty.wav").touch()
    command = [sys.executable, "-m", "musetools", "extract", folder, "--store", root, "--encoder", checkpoint]
    environment = {**os.environ, "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 1
    told = done.stdout.decode().splitlines()
    assert told[0] == "1 added, 0 there already, 1 failed"
    assert "empty (0 bytes)" in told[1]
    assert b"Traceback" not in done.stderr
    assert b"Warning" not in done.stderr
    assert FeatureStore.open(root).clips == ("speech é.wav",)


def test_new_clips_are_checked_on_the_way(tmp_path, small):
    data = Path(__file__).resolve().parents[2] / "data"
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    clips = [data / "talker_25.mp4", data / "talker_2997.mp4"]
    report = extract(clips, store, small, check="musetalk-v1.5-infer", progress=False)
    assert (report.added, [audit.level for audit in report.audits]) == (["talker_25.mp4"], ["ok"])
    (reason,) = report.failed.values()
    assert reason.startswith("left out: ")
    assert "drifts" in reason  # v1.5 at 29.97 fps
    report = extract(clips, store, small, check="musetalk-v1.5-infer", lenient=True, progress=False)
    assert (report.added, report.skipped) == (["talker_2997.mp4"], ["talker_25.mp4"])
    assert [finding.what for finding in report.audits[0].findings] == ["drift", "frames lost"]
    assert report.ok
    with pytest.raises(ParameterError, match="no recipe"):
        extract(clips, store, small, check="nobody's", progress=False)


@pytest.mark.parametrize("fault", [{"late_s": 0.3}, {"drop": (1.0, 1.3)}], ids=["late", "hole"])
def test_sound_is_laid_by_its_time_stamps_and_the_record_says_so(tmp_path, small, fault):
    path = with_sound(tmp_path / "clip.mp4", **fault)
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    report = extract([path], store, small, progress=False)
    assert report.ok
    (timeline,) = report.aligned.values()
    assert store.record("clip.mp4").source["timeline"] == timeline.to_json()
    assert "laid by its time stamps: clip.mp4" in repr(report)
    np.testing.assert_array_equal(store["clip.mp4"], audio2feat(path, small))
    assert len(store["clip.mp4"]) == pytest.approx(50 * (3 + fault.get("late_s", 0)), abs=3)


def test_where_decoding_does_not_mend_it_a_clip_is_left_out(tmp_path, small):
    """v1.5's decoder counts samples: what comes after a hole would be early."""
    path = with_sound(tmp_path / "clip.mp4", drop=(1.0, 1.3))
    store = FeatureStore.create(tmp_path / "store", "musetalk-v1.5", small)
    report = extract([path], store, small, progress=False)
    ((name, reason),) = report.failed.items()
    assert (name, report.added, store.clips) == (str(path), [], ())
    assert reason.startswith("left out: 299 ms of sound are missing")
    assert extract([path], store, small, lenient=True, progress=False).added == ["clip.mp4"]
    assert store.record("clip.mp4").source.get("timeline") is None
    assert store.verify().ok


def test_a_whole_clip_needs_no_word(tmp_path, small):
    path = with_sound(tmp_path / "clip.mp4")
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    report = extract([path], store, small, progress=False)
    assert (report.aligned, store.record("clip.mp4").source.get("timeline")) == ({}, None)
