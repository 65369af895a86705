"""Learn musetools/lips/model.npz from a folder of clips of people who talk, and tell how well it does on others.

    python data/learn_lips.py CLIPS... --speakers data/lips_speakers.csv --out musetools/lips/model.npz
    python data/learn_lips.py CLIPS... --speakers data/lips_speakers.csv --trial

A ridge on rows of tiny.en, layers 2 and 3, standardised, 128 principal components, taps of -80 … 80 ms, predicts the
mouth's measures without their slow trend. Clips have offsets of their own: a first model, learned on the other
speakers, finds each clip's, the second one learns from clips moved by it (less the median of all, which stays).
`--trial` leaves one speaker out at a time, in both steps, and prints each clip, with planted shifts and wrong sounds.
"""

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from musetools import load_audio, load_encoder
from musetools.files import find_media
from musetools.lips import estimate, expected
from musetools.lips.expected import TAPS, MouthModel, mouth_rows, on_grid, row_grid, summed
from musetools.lips.mouth import mouth_measures
from musetools.lips.series import MEASURES, MouthSeries, read_mouth
from musetools.table import Table
from musetools.timing import ROW_RATE, SAMPLE_RATE

COMPONENTS, STRENGTH = 128, 1.0  # ridge: share of the mean square of an input
PLANTED_MS = (-200, -80, 40, 120, 200)
LENGTHS_S = (3, 4, 6, 10, 20)  # for calibration
REACH_S = 3.0
DRAWN_S = 6  # length of a piece of a drawn voice
ANY = {"mu": -99.0, "beta": 1.0}  # a number for every clip
NONE = {"mu": 99.0, "beta": 1.0}  # correlation alone, for no clip a number


@dataclass
class Clip:
    """What is known of a clip."""

    name: str
    speaker: str
    language: str
    mouth: MouthSeries
    rows: np.ndarray  # (n_rows, layers · width)
    reversed_rows: np.ndarray  # of its sound played backwards
    own_s: float = 0.0  # its own offset, less the median of all

    def moved(self) -> MouthSeries:
        """Return the mouth where its sound is."""
        return replace(self.mouth, times_s=self.mouth.times_s + self.own_s)


def read_clips(paths: Iterable[Path], speakers: Path) -> list[Clip]:
    """Measure mouths and make rows."""
    with open(speakers, encoding="utf-8") as file:
        known = {line["file"]: line for line in csv.DictReader(file)}
    encoder, clips = load_encoder("tiny.en"), []
    for _, path in find_media(paths):
        waveform = load_audio(path)
        both = [waveform, np.ascontiguousarray(waveform[::-1])]
        rows = [np.concatenate(list(mouth_rows((one, SAMPLE_RATE), encoder))) for one in both]
        about = known.get(path.name, {})
        who = about.get("speaker", path.name), about.get("language", "")
        clips.append(Clip(path.name, *who, mouth_measures(path), *rows))
    return clips


def drawn_clips() -> list[Clip]:
    """Return the drawn voices beside this file, in pieces: loudness, which is their own rule, is calibrated on them."""
    clips = []
    for table in sorted(Path(__file__).parent.glob("voice_*.csv")):
        mouth, loudness = read_mouth(table), estimate.loudness_mouth(load_audio(table.with_suffix(".m4a")))
        for start in range(0, int(mouth.times_s[-1]) - DRAWN_S, DRAWN_S // 2):
            inside = (mouth.times_s >= start) & (mouth.times_s < start + DRAWN_S)
            part = replace(mouth, times_s=mouth.times_s[inside] - start, values=mouth.values[inside])
            rows = loudness[start * ROW_RATE : (start + DRAWN_S) * ROW_RATE]
            clips.append(Clip(f"{table.stem}-{start}", table.stem, "en", part, rows, rows[::-1]))
    return clips


def fit(clips: list[Clip]) -> MouthModel:
    """Learn a model."""
    rows = np.concatenate([clip.rows for clip in clips]).astype(np.float64)
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    scaled = (rows - mean) / spread
    axes = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1][:, :COMPONENTS] / spread[:, None]
    products = wanted = 0.0
    for clip in clips:
        parts = (clip.rows - mean) @ axes
        places = np.arange(len(parts))
        x = np.concatenate([parts[np.clip(places + tap, 0, len(parts) - 1)] for tap in TAPS], axis=1)
        mouth = clip.moved()
        y, seen = on_grid(mouth.times_s, mouth.values, ROW_RATE)
        n = min(len(x), len(y))
        x, y = x[:n][seen[:n]], y[:n][seen[:n]]
        products, wanted = products + x.T @ x, wanted + x.T @ y
    damped = products + STRENGTH * np.trace(products) / len(products) * np.eye(len(products))
    b = np.linalg.solve(damped, wanted).reshape(len(TAPS), COMPONENTS, -1)
    weights = np.concatenate([axes @ one for one in b], axis=1)
    return MouthModel(weights.astype(np.float32), (-mean @ weights).astype(np.float32), {})


def apart(clips: list[Clip]) -> dict[str, MouthModel]:
    """Learn a model without each speaker."""
    return {who: fit([c for c in clips if c.speaker != who]) for who in {clip.speaker for clip in clips}}


def settle(clips: list[Clip]) -> None:
    """Find each clip's own offset by a model of the other speakers."""
    for clip in clips:
        clip.own_s = 0.0
    models = apart(clips)
    found = [estimate.match(c.mouth, summed(models[c.speaker](c.rows)), ANY).offset_ms or 0.0 for c in clips]
    for clip, offset in zip(clips, found, strict=True):
        clip.own_s = (offset - float(np.median(found))) / 1000


def scores(clips: list[Clip], mouths: dict[str, np.ndarray], reach_s: float) -> np.ndarray:
    """Return atanh(r) · sqrt(seconds) of wrong sounds: of other speakers, and of any played backwards."""
    found = []
    for clip in clips:
        last = clip.mouth.times_s[-1]
        for seconds in (s for s in LENGTHS_S if s <= last + 0.1):
            for key, sound in mouths.items():
                speaker, name = key.split("/")
                if len(sound) < seconds * ROW_RATE - 2 or (speaker == clip.speaker and not name.startswith("-")):
                    continue
                kept = clip.mouth.times_s <= seconds
                part = replace(clip.mouth, times_s=clip.mouth.times_s[kept], values=clip.mouth.values[kept])
                told = estimate.match(part, sound[: int(seconds * ROW_RATE)], NONE, reach_s)
                found.append(np.arctanh(max(told.correlation, 0)) * np.sqrt(told.seconds))
    return np.array(found)


def gumbel(clips: list[Clip], mouths: dict[str, np.ndarray], *, far: bool = False) -> dict[str, float]:
    """Fit the distribution of wrong sounds' scores to its middle and its 99.5 %; see how it does at a larger range."""
    near = scores(clips, mouths, estimate.REACH_S)
    unit = -np.log(-np.log([0.5, 0.995]))
    low, high = np.quantile(near, [0.5, 0.995])
    beta = (high - low) / (unit[1] - unit[0])
    mu = low - beta * unit[0]
    print(f"{len(near)} wrong sounds: median {low:.3f}, 99.5 % {high:.3f}; largest {near.max():.3f}", file=sys.stderr)
    if far:
        place, wide = mu + beta * np.log(REACH_S / estimate.REACH_S) + beta * unit[1], scores(clips, mouths, REACH_S)
        print(f"±{REACH_S:g} s: 99.5 % {np.quantile(wide, 0.995):.3f}, {place:.3f} by the model", file=sys.stderr)
    return {"mu": float(mu), "beta": float(beta)}


def all_mouths(clips: list[Clip], models: dict[str, MouthModel]) -> dict[str, np.ndarray]:
    """Return mouths expected from each sound, and from it played backwards, by a model without its speaker."""
    forwards = {f"{c.speaker}/{c.name}": summed(models[c.speaker](c.rows)) for c in clips}
    return forwards | {f"{c.speaker}/-{c.name}": summed(models[c.speaker](c.reversed_rows)) for c in clips}


def trial(clips: list[Clip]) -> Table:
    """Leave each speaker out, in the clips' own offsets, the model and the calibration, and try the rest on it."""
    lines, wrong, told_wrong = [], 0, 0  # of the table; wrong sounds, and those that got a number
    for who in sorted({clip.speaker for clip in clips}):
        others = [c for c in clips if c.speaker != who]
        settle(others)
        model, about = fit(others), gumbel(others, all_mouths(others, apart(others)))
        for clip in (c for c in clips if c.speaker == who):
            told = estimate.match(clip.mouth, summed(model(clip.rows)), about)
            shifts = [planted(clip, model, about, ms) for ms in PLANTED_MS] if told.offset_ms is not None else []
            off = [
                abs(s - told.offset_ms - ms) if s is not None else np.nan
                for s, ms in zip(shifts, PLANTED_MS, strict=False)
            ]
            answers = [estimate.match(clip.mouth, summed(model(c.rows)), about) for c in others]
            answers += [estimate.match(clip.mouth, summed(model(c.reversed_rows)), about) for c in clips]
            answers = [one for one in answers if one.seconds >= estimate.SHORTEST_S]
            wrong, told_wrong = wrong + len(answers), told_wrong + sum(a.offset_ms is not None for a in answers)
            lines.append(trial_line(clip, told, off))
    long = [line for line in lines if float(line[3]) >= 4]
    number = [line for line in long if line[6] != "–"]
    caption = (
        f"A number for {len(number)} of {len(long)} clips of 4 s or more, {sum(line[6] != '–' for line in lines)} of "
        f"{len(lines)} in all; for {told_wrong} of {wrong} wrong sounds (other speakers', and sounds played backwards)."
    )
    head = ["clip", "speaker", "language", "s", "r", "confidence", "offset, ms", "interval"]
    head += ["drift, ms/s", "planted, off by"]
    return Table(head, lines, caption)


def planted(clip: Clip, model: MouthModel, about: dict, ms: float) -> float | None:
    """Return the offset where sound is moved later by so much: rows of 20 ms, mouths expected in between."""
    mouth = replace(clip.mouth, times_s=clip.mouth.times_s - ms / 1000)
    kept = mouth.times_s >= 0
    if ms < 0:  # sound earlier: its start is cut off
        sound = clip.rows[round(-ms / 1000 * ROW_RATE) :]
        return estimate.match(clip.mouth, summed(model(sound)), about).offset_ms
    mouth = replace(mouth, times_s=mouth.times_s[kept], values=mouth.values[kept])
    sound = np.concatenate([np.repeat(clip.rows[:1], round(ms / 1000 * ROW_RATE), axis=0), clip.rows])
    return estimate.match(clip.mouth, summed(model(sound)), about).offset_ms


def trial_line(clip: Clip, told: estimate.LipSync, off: list[float]) -> list[str]:
    """Return a line of the table."""
    head = [clip.name, clip.speaker, clip.language, f"{clip.mouth.times_s[-1]:.1f}", f"{told.correlation:.2f}"]
    head.append(f"{told.confidence:.4f}")
    if told.offset_ms is None:
        return [*head, "–", "", "", told.why]
    low, high = told.interval_ms
    drift = "–" if told.drift_ms_s is None else f"{told.drift_ms_s:+.1f}"
    worst = max((ms for ms in off if ms >= 0), default=None)
    shifts = "–" if worst is None else f"{worst:.0f} ms"
    return [*head, f"{told.offset_ms:+.0f}", f"{low:+.0f} … {high:+.0f}", drift, shifts]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--speakers", required=True, type=click.Path(path_type=Path, exists=True), help="CSV: file, speaker, …")
@click.option("--out", type=click.Path(path_type=Path), help="The model file to write.")
@click.option("--trial", "try_it", is_flag=True, help="Leave one speaker out at a time.")
def main(paths: tuple[Path, ...], speakers: Path, out: Path | None, try_it: bool) -> None:
    """Learn a model of mouths from clips of people who talk: files, or folders of them."""
    clips = read_clips(paths, speakers)
    if try_it:
        print(trial(clips))
    if out:
        settle(clips)
        models, model = apart(clips), fit(clips)
        told = [estimate.match(c.mouth, summed(models[c.speaker](c.rows)), ANY) for c in clips]
        offsets = [round(one.offset_ms) for one in told]
        heard = [row_grid(summed(models[c.speaker](c.rows))).std() for c in clips]
        drawn = drawn_clips()
        print(f"expected mouths deviate by {min(heard):.2f} … {max(heard):.2f}")
        about = {
            "fingerprint": load_encoder("tiny.en").fingerprint,
            "gumbel": gumbel(clips, all_mouths(clips, models), far=True),
            "loudness_gumbel": gumbel(drawn, {f"{c.speaker}/{c.name}": c.rows for c in drawn}),
            "own_ms": {clip.name: ms for clip, ms in zip(clips, offsets, strict=True)},
            "spread_ms": round(float(np.std(offsets))),
            "median_ms": round(float(np.median(offsets))),
            "made_by": "python " + " ".join(["data/learn_lips.py CLIPS --speakers", str(speakers), "--out", str(out)]),
            "measures": list(MEASURES),
            "layers": list(expected.LAYERS),
        }
        out.write_bytes(replace(model, about=about).to_bytes())
        print(f"{out}: {out.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
