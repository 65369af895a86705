"""The answer of notebook 07: how close each part of the work comes to what this machine can do."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from musetools import Encoder, FeatureStore, audio2feat, load_audio, load_encoder
from musetools.features.fastest import processor
from musetools.features.weights import read_weights
from musetools.lab.answer import Answer
from musetools.lab.content import gap_of
from musetools.lab.performance.baselines import HUGGING_FACE, V1, Extractor, hugging_face, v1_style
from musetools.lab.performance.measure import (
    Bound,
    Fit,
    chunk_costs,
    decode_cost,
    encoder_flops,
    encoder_shares,
    fit_of,
    length_costs,
    live_costs,
    repeated_wav,
    sampler_cost,
    type_errors,
)
from musetools.lab.performance.timing import PRODUCT_FLOPS, Race, matrix_peak, peak_mib, race, start_times
from musetools.lab.process import one_thread
from musetools.table import Table
from musetools.timing import SAMPLE_RATE
from musetools.worker import usable_cores

__all__ = ["FULL", "QUICK", "Performance", "Plan", "evaluate"]

TYPES = ("float32", "bfloat16")
OURS = "musetools, "
SPEC_OF = {HUGGING_FACE: "musetalk-v1.5", V1: "musetalk-v1"}
SAME_S = 35  # two segments
NO_TRANSFORMERS = "Hugging Face's way was left out: it was not asked for, or pip install 'musetools[bench]' is missing."


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    threads: bool  # whether the encoder is timed on all cores, too
    minutes: float  # of the recording that every way extracts
    lengths_s: tuple[float, ...]
    memory_minutes: tuple[float, ...]
    chunk_hours: float
    batches: int
    starts: int


QUICK = Plan(2, False, 0.5, (1, 5, 10, 30, 60), (0.5, 1.5), 0.1, 30, 1)
FULL = Plan(5, True, 30, (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600), (10, 30, 60), 1, 500, 6)


@dataclass(frozen=True, eq=False, repr=False)
class Performance(Answer):
    """What the work costs on this machine."""

    weights: str
    machine: str
    minutes: float  # of the recording that every way extracted
    shares: list[Bound]  # the encoder, by type and threads
    whole: Race  # file to features, by way
    same: dict[str, float]  # by published way, the largest difference from ours, in standard deviations of a layer
    lengths: dict[str, Race]  # `audio2feat` by length, padded and not
    fit: Fit
    limit_s: float  # seconds of computing a second of audio, if all were products of matrices in float32
    memory: dict[float, float]  # minutes of audio: MiB
    bounds: list[Bound]  # decoding, chunks, batches, live steps
    errors: dict[str, np.ndarray]  # see `type_errors`
    starts: dict[str, float]  # seconds, by what starts

    def gains(self) -> list[tuple[str, str, tuple[float, float, float]]]:
        """Return how many times as fast each of our types is as each published way: median, least, most."""
        theirs = [name for name in self.whole.seconds if not name.startswith(OURS)]
        return [(t, name, self.whole.ratio(name, OURS + t)) for t in TYPES for name in theirs]

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        one = [bound for bound in self.shares if bound.name.endswith("1 thread")]
        reached = ", ".join(f"{100 * bound.share:.0f} % in {bound.name.split(',')[0]}" for bound in one)
        times = "; ".join(f"{t} {median:.2f} times as fast as {name}" for t, name, (median, *_) in self.gains())
        first, *_, last = self.memory.values()
        short = self.lengths["not padded"].best("5") / self.lengths["padded to 30 s"].best("30")
        moved = (self.errors["5 s, not padded"] / self.errors["neighbouring rows"]).max()
        said = [
            f"From file to features, {self.minutes:g} min: {times}.",
            f"The encoder reaches {reached} of what products of matrices reach here ({self.machine}).",
            f"Cost grows by {1000 * self.fit.a_second:.1f} ms a second of audio in float32, "
            f"{self.fit.a_second / self.limit_s:.2f} times what its products would take at the machine's peak; points "
            f"lie within {100 * self.fit.worst:.1f} % of the line.",
            f"Peak memory is {first:.0f} MiB for {min(self.memory):g} min, {last / first:.2f} times that for "
            f"{max(self.memory):g} min.",
            f"5 s of audio in a window that is not padded cost {short:.2f} times a segment of 30 s, and features lie "
            f"up to {moved:.1f} times as far from the padded ones as neighbouring rows from each other: train on what "
            "you will infer with.",
        ]
        return said if HUGGING_FACE in self.whole.seconds else [*said, NO_TRANSFORMERS]

    def table(self) -> Table:
        """Return every cost beside its limit."""
        lines = [
            [b.name, b.text, b.limit, f"{100 * b.share:.0f} %", f"{100 * b.low:.0f} … {100 * b.high:.0f} %"]
            for b in (*self.shares, *self.bounds)
        ]
        return Table(["what", "takes", "limit", "reached", "over rounds"], lines)


def evaluate(
    media: Path, folder: Path, *, encoder: str = "tiny.en", plan: Plan = QUICK, others: bool = True
) -> Performance:
    """Measure everything: the answer of notebook 07.

    Parameters
    ----------
    media : Path
        A media file of speech, 30 s or more; repeated where more is needed.
    folder : Path
        A folder to write recordings to.
    encoder : str, default "tiny.en"
        Weights, by a name or a path.
    plan : Plan, default QUICK
        How much is measured.
    others : bool, default True
        Whether Hugging Face's way is measured too; importing it takes seconds.

    Returns
    -------
    Performance
    """
    waveform = load_audio(media)
    encoders = {name: load_encoder(encoder, device="cpu", dtype=name) for name in TYPES}
    cores = usable_cores()
    shares = encoder_shares(encoders, sorted({1, cores if plan.threads else 1}), plan.rounds)
    exact = encoders["float32"]
    store = FeatureStore.create(folder / "store", "musetools", exact)
    store.add("speech", (waveform, SAMPLE_RATE), exact)
    weights = read_weights(encoder)
    ways = {HUGGING_FACE: hugging_face(weights) if others else None, V1: v1_style(weights)}
    ways = {name: way for name, way in ways.items() if way}
    with one_thread():
        recording = repeated_wav(waveform, 60 * plan.minutes, folder / "whole.wav")
        ours = {OURS + name: partial(audio2feat, recording, one) for name, one in encoders.items()}
        whole = race(ours | {name: partial(way, recording) for name, way in ways.items()}, plan.rounds)
        same = _differences(ways, exact, repeated_wav(waveform, SAME_S, folder / "same.wav"))
        lengths = length_costs(waveform, exact, plan.lengths_s, plan.rounds)
        bounds = [decode_cost(media, plan.rounds), *chunk_costs(plan.chunk_hours, store.row_shape, plan.rounds)]
        bounds += [sampler_cost(store, plan.batches, plan.rounds), *live_costs(waveform, encoders, 2 * plan.rounds)]
        errors = type_errors(waveform, encoders)
        product = race({"product": matrix_peak(torch.float32)}, 3 * plan.rounds).best("product")
    files = {m: str(repeated_wav(waveform, 60 * m, folder / f"{m:g}.wav")) for m in plan.memory_minutes}
    memory = dict(zip(files, peak_mib(encoder, [*files.values()]), strict=True))
    limit_s = encoder_flops(exact, exact.max_rows) / PRODUCT_FLOPS * product / 30
    machine = f"{processor()}, {cores} cores, torch {torch.__version__}"
    starts, fit = start_times(plan.starts), fit_of(lengths["padded to 30 s"])
    return Performance(
        encoder, machine, plan.minutes, shares, whole, same, lengths, fit, limit_s, memory, bounds, errors, starts
    )


def _differences(ways: dict[str, Extractor], encoder: Encoder, path: Path) -> dict[str, float]:
    """Return by how many standard deviations of its layer a value of each way differs at most from ours by its spec."""
    made = ((name, way, audio2feat(path, encoder, spec=SPEC_OF[name])) for name, way in ways.items())
    return {name: gap_of(way(path) - own, own.std(axis=(0, 2), dtype=np.float64)).worst for name, way, own in made}
