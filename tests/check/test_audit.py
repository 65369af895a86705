"""Every fault that puts lips out of sync is found and named, and a file that is good is left alone."""

import errno
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from clips import FAULTS, NTSC, cut_off, forbid_decoding, write_clip, write_good, write_late, write_mute, write_song
from media import FASTSTART, SPEECH_RATE, speech, write_media

from musetools import RECIPES, ParameterError, audit_clip
from musetools.audio.structure import Structure, structure_of
from musetools.audio.timeline import Piece, Timeline
from musetools.check.clip import ClipAudit
from musetools.check.findings import LEVELS, of_claim
from musetools.check.folder import FolderAudit, audit_folder

RATE = 16_000


def hiss(n_samples: int) -> tuple[np.ndarray, int]:
    """Make sound that is nowhere silent."""
    return np.random.default_rng(0).uniform(-0.1, 0.1, n_samples).astype(np.float32), RATE


def whats(audit: ClipAudit, *levels: str) -> set[str]:
    """Name what was found."""
    return {finding.what for finding in audit.findings if finding.level in (levels or ("error", "warning"))}


def number(audit: ClipAudit, what: str) -> float:
    (found,) = (finding.number for finding in audit.findings if finding.what == what)
    return found


def sentence(audit: ClipAudit, what: str) -> str:
    (found,) = (finding.sentence for finding in audit.findings if finding.what == what)
    return found


# --- a folder of many


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Eight good clips and five bad ones, in folders with awkward names."""
    folder = tmp_path_factory.mktemp("clips {1} <b>")
    write_good(folder, 8)
    (folder / "more").mkdir()
    for what, write in FAULTS.items():
        write(folder / "more" / f"{what}.mp4")
    (folder / "notes.txt").write_text("no clip")
    return folder


@pytest.fixture(scope="module")
def audits(mixed) -> dict[bool, FolderAudit]:
    """Audits of the folder, decoded and quick."""
    return {quick: audit_folder(mixed, quick=quick) for quick in (False, True)}


@pytest.mark.parametrize("quick", [False, True])
def test_each_fault_is_found_and_named_among_good_clips(audits, quick):
    folder = audits[quick]
    assert len(folder.audits) == 13
    assert folder.errors == 5
    for audit in folder.audits[:5]:
        assert Path(audit.name).stem in whats(audit, "error"), audit
    assert [audit.level for audit in folder.audits] == ["error"] * 5 + ["ok"] * 8, folder
    assert all("good" in audit.name for audit in folder.audits[5:])


def test_the_table_has_a_line_for_each(audits):
    head, *lines, caption = repr(audits[True]).splitlines()
    assert head.split() == ["level", "clip", "sound", "frames", "found"]
    assert caption.startswith("5 of 13 clips have errors")
    assert "packets alone were read: silence" in caption
    assert len(lines) == 13
    assert all(what in "\n".join(lines[:5]) for what in FAULTS)
    assert "60 at 30" in lines[-1]


def test_the_numbers_of_the_faults(mixed, audits):
    by = {Path(audit.name).stem: audit for audit in audits[False].audits}
    assert number(by["start offset"], "start offset") == pytest.approx(120, abs=2)
    assert "120 ms late" in sentence(by["start offset"], "start offset")
    path = mixed / "more" / "truncated.mp4"
    assert number(by["truncated"], "truncated") == pytest.approx(path.stat().st_size * (1 / 0.6 - 1), abs=2)
    assert number(by["declared rate"], "declared rate") == pytest.approx(-1, abs=0.01)
    assert "29.97 fps, time stamps show 30" in sentence(by["declared rate"], "declared rate")
    assert whats(by["no audio"]) == {"no audio"}
    assert whats(by["variable rate"]) == {"variable rate"}


def test_files_and_folders_together(mixed, tmp_path):
    song = write_media(tmp_path / "song.flac", speech(1), SPEECH_RATE)
    folder = audit_folder([mixed / "more", str(song)], quick=True)
    assert len(folder.audits) == 6
    assert folder.audits[-1].name == str(song)
    assert len(audit_folder(str(song)).audits) == 1


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ParameterError, match=r"no file or folder .*gone"):
        audit_folder([tmp_path, tmp_path / "gone"])


def test_the_worst_clip_with_picture_and_sound_is_the_focus(mixed, tmp_path):
    focus = audit_folder(mixed, quick=True).focus
    assert focus.level == "error"
    assert focus.n_samples
    mute = audit_folder(write_mute(tmp_path / "mute.mp4"))
    with pytest.raises(ParameterError, match="none of 1 clips has picture and sound"):
        mute.focus  # noqa: B018


def test_findings_and_clips_come_worst_first(tmp_path):
    write_late(tmp_path / "c.mp4", 0.03)
    write_clip(tmp_path / "a.mp4")
    write_clip(tmp_path / "b.mp4", seconds=3, sound_s=1, late_s=0.03)
    folder = audit_folder(tmp_path, quick=True)
    assert [Path(audit.name).stem for audit in folder.audits] == ["b", "c", "a"]
    assert [audit.level for audit in folder.audits] == ["error", "warning", "ok"]
    for audit in folder.audits:
        order = [(LEVELS.index(f.level), -abs(f.number)) for f in audit.findings]
        assert order == sorted(order)


def test_the_same_through_json(audits):
    folder = audits[False]
    plain = json.loads(folder.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [one["clip"] for one in plain["clips"]] == [audit.name for audit in folder.audits]
    for one, audit in zip(plain["clips"], folder.audits, strict=True):
        assert (one["level"], one["recipe"]) == (audit.level, "musetools")
        assert (one["frames"], one["samples"]) == (audit.n_frames, audit.n_samples)
        assert Fraction(one["fps"]) == audit.fps
        assert [f["sentence"] for f in one["findings"]] == [f.sentence for f in audit.findings]


def test_html_is_escaped(audits, tmp_path):
    shown = audits[True]._repr_html_()
    assert "<b>" not in shown
    assert "&lt;b&gt;" in shown
    path = write_mute(tmp_path / "<script>.mp4")
    audit = audit_clip(path)
    assert "<script>" not in audit._repr_html_()
    assert "&lt;script&gt;.mp4" in audit._repr_html_()
    assert "<script>.mp4 for musetools: error" in repr(audit)
    assert "nothing found" in audit_clip(hiss(RATE), n_frames=25, fps=25)._repr_html_()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_quick_look_decodes_nothing(tmp_path, monkeypatch, name):
    path = write_clip(tmp_path / name, seconds=3, sound_s=1)
    decoded = audit_clip(path)
    forbid_decoding(monkeypatch)
    quick = audit_clip(path, quick=True)
    assert whats(quick) == whats(decoded) == {"length", "frames lost"}
    assert quick.n_samples == pytest.approx(decoded.n_samples, abs=0.025 * RATE)
    with pytest.raises(AssertionError, match="decoded"):
        audit_clip(path)


# --- one clip


def test_a_real_clip_lacks_sound(shared):
    audit = audit_clip(shared / "real" / "yongen.mp4")
    assert (audit.n_frames, audit.fps, audit.n_samples) == (268, 25, 8 * RATE)
    assert number(audit, "length") == pytest.approx(2720)
    assert audit.surplus_rows == 2 * 268 - 400
    assert audit.level == "error"


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(RATE, 25), (RATE + 319, 25), (RATE, 30), (2 * RATE, 25), (RATE // 2, 25)]
)
def test_surplus_rows(n_samples, n_frames):
    """At 25 fps it is what MuseTalk's authors drop clips by: 2·frames − rows (K18)."""
    audit = audit_clip(hiss(n_samples), n_frames=n_frames, fps=25)
    assert audit.surplus_rows == 2 * n_frames - n_samples // 320
    at_50 = audit_clip(hiss(n_samples), n_frames=2 * n_frames, fps=50)
    assert at_50.surplus_rows == audit.surplus_rows
    assert audit_clip(hiss(n_samples)).surplus_rows is None


@pytest.mark.parametrize(
    ("n_frames", "level"), [(100, "ok"), (101, "ok"), (102, "warning"), (105, "warning"), (106, "error"), (94, "error")]
)
def test_lengths_that_differ(n_frames, level):
    audit = audit_clip(hiss(4 * RATE), n_frames=n_frames, fps=25)
    assert audit.level == level
    if level != "ok":
        assert number(audit, "length") == pytest.approx(40 * (n_frames - 100))
        longer = "video goes on without sound" if n_frames > 100 else "sound goes on without video"
        assert (longer in sentence(audit, "length")) == (level == "error")


@pytest.mark.parametrize(("late_s", "level"), [(0.01, "ok"), (0.03, "warning"), (0.2, "error")])
def test_start_offsets(tmp_path, late_s, level):
    audit = audit_clip(write_late(tmp_path / "clip.mp4", late_s), quick=True)
    assert audit.level == level
    assert ("start offset" in whats(audit)) == (level != "ok")


def test_picture_that_starts_late(tmp_path):
    audit = audit_clip(write_clip(tmp_path / "clip.mp4", times=0.2 + np.arange(50) / 25), quick=True)
    assert "Sound starts 200 ms early" in sentence(audit, "start offset")
    assert number(audit, "start offset") == pytest.approx(-200, abs=2)


@pytest.mark.parametrize(
    ("name", "codec", "fps", "seconds"),
    [
        ("a.mp4", "libx264", 24, 1),
        ("a.mp4", "libx264", NTSC, 2),
        ("a.mp4", "libx264", 30, 3),
        ("a.mkv", "libx264", 24, 3),
        ("a.mkv", "libx264", NTSC, 1),
        ("a.mkv", "libx264", 30, 2),
        ("b.mp4", "mpeg4", NTSC, 1),
        ("b.mov", "mjpeg", NTSC, 1),
        ("b.mkv", "libvpx-vp9", NTSC, 1),
    ],
)
def test_short_clips_have_no_findings(tmp_path, name, codec, fps, seconds):
    """Neither the staircase of whole rows nor time stamps in milliseconds are a drift."""
    audit = audit_clip(write_clip(tmp_path / name, fps, seconds, codec=codec), quick=True)
    assert audit.level == "ok", audit
    assert audit.n_frames == round(seconds * fps)


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30, 60])
def test_our_own_recipe_finds_no_fault_at_any_rate(fps):
    for n_frames in (5, 30, 100, 301, 1000):
        n_samples = round(n_frames / fps * RATE)
        audit = audit_clip((np.full(n_samples, 0.1, np.float32), RATE), n_frames=n_frames, fps=fps)
        assert not audit.findings, audit


def test_silence_is_a_finding():
    sound, _ = hiss(4 * RATE)
    sound[: 3 * RATE] = 0
    audit = audit_clip((sound, RATE), n_frames=100, fps=25)
    assert whats(audit) == {"silence"}
    assert number(audit, "silence") == 0.75
    assert "75 % of the frames" in sentence(audit, "silence")
    sound[: 3 * RATE : 100] = 0.1
    assert not audit_clip((sound, RATE), n_frames=100, fps=25).findings


def test_an_array_needs_no_file():
    audit = audit_clip(hiss(4 * RATE), "musetalk-v1.5-infer", n_frames=120, fps=29.97)
    assert (audit.name, audit.info, audit.n_samples, audit.n_frames) == ("the array", None, 4 * RATE, 120)
    assert audit.fps == NTSC
    assert audit.to_json()["fps"] == "30000/1001"
    quick = audit_clip(hiss(2 * RATE), n_frames=100, fps=25, quick=True)
    assert quick.n_samples == 2 * RATE
    assert "length" in whats(quick)


def test_audio_with_the_frames_of_its_video(tmp_path):
    path = write_media(tmp_path / "voice.wav", speech(2), SPEECH_RATE)
    assert audit_clip(path).level == "ok"
    assert whats(audit_clip(path, n_frames=100, fps=25)) == {"length", "frames lost"}
    assert audit_clip(write_song(tmp_path / "song.mp3")).n_frames is None


def test_arguments_that_cannot_be_used(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", seconds=0.2)
    with pytest.raises(ParameterError, match="no recipe 'nonesuch'; there are musetools"):
        audit_clip(path, "nonesuch")
    with pytest.raises(ParameterError, match="fps"):
        audit_clip(path, fps=0)
    with pytest.raises(ParameterError, match="array"):
        audit_clip((np.zeros((2, 2, 2)), RATE))


# --- what recipes do to it


def test_drift_of_the_published_pipeline(tmp_path):
    audit = audit_clip(write_clip(tmp_path / "clip.mp4", NTSC, 3), "musetalk-v1.5-infer", quick=True)
    assert number(audit, "drift") == pytest.approx(33.3, abs=1)  # 1000·(29.97/29 − 1), FACTS section 2
    assert "musetalk-v1.5-infer drifts +33" in sentence(audit, "drift")
    assert audit.level == "error"
    at_25 = audit_clip(write_clip(tmp_path / "25.mp4", seconds=3), "musetalk-v1.5-infer", quick=True)
    assert at_25.level == "ok"


@pytest.mark.parametrize(
    ("recipe", "fps", "what"),
    [
        ("musetalk-v1.5-infer", 50, "recipe stops"),
        ("livetalking", 29.97, "recipe stops"),
        ("musetalk-v1.5-infer", 24, "lag"),
        ("livetalking-0-5", 25, "lag"),
        ("musetalk-v1-train", 30, "drift"),
        ("musetalk-v1-infer", 25, None),
        ("musetools", 50, None),
    ],
)
def test_what_a_recipe_does_is_a_finding(recipe, fps, what):
    n_frames = round(10 * fps)
    audit = audit_clip(hiss(10 * RATE), recipe, n_frames=n_frames, fps=fps)
    assert {"lag", "drift", "recipe stops"} & whats(audit) == ({what} if what else set())


def test_a_table_of_all_recipes(tmp_path):
    audit = audit_clip(write_clip(tmp_path / "clip.mp4", 60), quick=True)
    table = audit.recipes()
    by = {line[0]: line[1:] for line in table.lines}
    assert table.head[0] == "at 60 fps"
    assert set(by) == set(RECIPES)
    assert by["musetalk-v1.5-infer"][0] == "stops"
    assert by["musetools"][1:] == ["121", "+1 frames", "in place"]  # the last AAC packet goes on after the video
    assert by["musetalk-v1-train"][1:3] == ["46", "-74 frames"]  # two rows a frame, whatever the fps
    assert [line[0] for line in audit.recipes(["latentsync"]).lines] == ["latentsync"]
    with pytest.raises(ParameterError, match="without sound and a frame rate"):
        audit_clip(write_mute(tmp_path / "mute.mp4")).recipes()


@pytest.mark.parametrize(
    ("n_frames", "level", "share"),
    [
        *((n_frames, "ok", 0) for n_frames in (699, 700, 715)),
        (716, "warning", 1 / 701),
        (765, "warning", 50 / 750),
        (766, "error", 51 / 751),
        (875, "error", 160 / 860),
    ],
)
def test_clips_too_long_for_the_published_loader(n_frames, level, share):
    """With 16 frames a sample, the start 700 needs 716 frames (K6), the start 750 needs 766 (K5)."""
    audit = audit_clip(hiss(640 * n_frames), "musetalk-v1.5-train", n_frames=n_frames, fps=25)
    assert audit.level == level
    assert whats(audit) == ({"over 28 s"} if share else set())
    if share:
        assert number(audit, "over 28 s") == pytest.approx(share)
    assert not whats(audit_clip(hiss(640 * n_frames), n_frames=n_frames, fps=25))


# --- files that cannot be trusted (FAULTS F8 … F12)


def bad_files(folder: Path) -> dict[str, str]:
    """Write files with every known fault; return the finding that each must have."""
    tone = np.sin(np.arange(RATE) / 7)
    (folder / "empty.mp4").touch()
    (folder / "notes.mp4").write_text("These are notes.\n" * 99)
    cut_off(write_clip(folder / "no index.mp4"), 0.7)
    cut_off(write_clip(folder / "first bytes.mp4", **FASTSTART), 0.01)
    cut_off(write_media(folder / "half.wav", speech(1), SPEECH_RATE), 0.5)
    cut_off(write_media(folder / "half.flac", speech(1), SPEECH_RATE), 0.5)
    soundfile.write(folder / "nan.wav", np.where(np.arange(RATE) == 9, np.nan, tone), RATE, subtype="FLOAT")
    soundfile.write(folder / "antiphase.wav", np.stack([tone, -tone], axis=1), RATE)
    (folder / "a folder.mp4").mkdir()
    unreadable = ["empty.mp4", "notes.mp4", "no index.mp4", "a folder.mp4", "gone.mp4"]
    wanted = {"first bytes.mp4": "no audio"} | dict.fromkeys(unreadable, "unreadable")
    return wanted | dict.fromkeys(["half.wav", "half.flac", "nan.wav", "antiphase.wav"], "undecodable")


def test_a_bad_file_is_a_finding(tmp_path):
    for name, what in bad_files(tmp_path).items():
        audit = audit_clip(tmp_path / name, n_frames=25, fps=25)
        assert what in whats(audit, "error") <= {what, "truncated"}, audit
        assert name in sentence(audit, what)
        assert audit_clip(tmp_path / name, quick=True).level == (
            "ok" if what == "undecodable" and name != "half.wav" else "error"
        )


def test_a_batch_goes_on_after_bad_files(tmp_path):
    bad = {name for name, what in bad_files(tmp_path).items() if (tmp_path / name).is_file()}
    write_clip(tmp_path / "good.mp4")
    folder = audit_folder(tmp_path)
    assert {Path(audit.name).name for audit in folder.audits} == bad | {"good.mp4"}
    assert (folder.errors, folder.audits[-1].level) == (len(bad), "ok")
    json.loads(folder.to_json())


def test_a_disk_that_cannot_read_one_clip(tmp_path, monkeypatch):
    write_clip(tmp_path / "good.mp4")
    write_clip(tmp_path / "bad.mkv")

    def failing(file: BinaryIO) -> Structure:
        if file.name.endswith("bad.mkv"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return structure_of(file)

    monkeypatch.setattr("musetools.audio.container.structure_of", failing)
    bad, good = audit_folder(tmp_path, quick=True).audits
    assert good.level == "ok"
    assert bad.findings[0].what == "unreadable"
    assert "bad.mkv cannot be read (Input/output error). Copy it again" in bad.findings[0].sentence


def test_a_damaged_length_in_a_header(tmp_path):
    path = write_clip(tmp_path / "clip.mkv")
    path.write_bytes(path.read_bytes().replace(b"00:00:02.", b"00:00:R0R"))
    for quick in (True, False):
        assert isinstance(audit_clip(path, quick=quick), ClipAudit)


@pytest.mark.parametrize("times", [np.zeros(1), np.arange(25) / 12_800, np.arange(3) * 100.0], ids=str)
def test_frame_rates_that_nobody_films_at(tmp_path, times):
    """Time stamps of no use are an error, not a matrix of a million lines."""
    path = write_clip(tmp_path / "clip.mp4", times=times, sound_s=1)
    for recipe in RECIPES:
        for quick in (True, False):
            audit = audit_clip(path, recipe, quick=quick)
            assert audit.n_frames == len(times)
            assert audit.level == "error", audit


@pytest.mark.parametrize("fps", [10, 25, 60, 240])
def test_hardly_any_sound(fps):
    for n_samples in (0, 1, 200, 300, 640, 1000):
        for recipe in RECIPES:
            audit = audit_clip((np.full(n_samples, 0.1, np.float32), RATE), recipe, n_frames=250, fps=fps)
            assert audit.level == "error", audit


def test_a_quick_look_at_files_damaged_at_random(tmp_path):
    """With bytes flipped and lost at random, seeded, the result is an audit; `tests/fuzz` decodes such files."""
    rng = np.random.default_rng(5)
    sources = [write_clip(tmp_path / f"a{end}", seconds=1, **FASTSTART) for end in (".mp4", ".mov")]
    sources.append(write_clip(tmp_path / "a.mkv", seconds=1))
    for i in range(60):
        source = sources[i % 3]
        damaged = bytearray(source.read_bytes()[: rng.integers(100, source.stat().st_size)])
        for place in rng.integers(0, min(len(damaged), 4000), rng.integers(1, 9)):
            damaged[place] = rng.integers(256)
        path = tmp_path / f"damaged{source.suffix}"
        path.write_bytes(damaged)
        plain = audit_clip(path, quick=True).to_json()
        assert json.loads(json.dumps(plain, allow_nan=False))["clip"] == str(path)


@pytest.mark.parametrize(("declared_s", "n"), [(3.0, 0), (2.95, 0), (3.2, 0), (2.8, 1), (4.5, 1), (1.4, 1), (None, 0)])
def test_a_declared_length_is_a_claim(declared_s, n):
    """Another length than there is: a warning; late sound and holes explain a difference."""
    late = Timeline((0.0,), (Piece(0.5, 0.0, 1.0), Piece(1.8, 1.0, 2.0)))  # 3 s of sound between 0.5 and 3.8 s
    found = list(of_claim(declared_s, late))
    assert [finding.level for finding in found] == ["warning"] * n
    assert not list(of_claim(3.8, late))
    assert not list(of_claim(3.3, late))
