"""What each way in which pipelines differ costs: one table, in standard deviations of the content, layer by layer.

Everything is measured on the audio that is given, repeated to a minute, unless a line says otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from musetools.audio.decode import Source
from musetools.audio.load import load_audio
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.lab.answer import Answer
from musetools.lab.content import Gap, gap_of, looped
from musetools.lab.difference.places import Places, measure_places
from musetools.recipes.recipe import add_positions
from musetools.table import SHADES, Table
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["RULE", "Cause", "Causes", "measure_causes"]

SHORT_S = 10  # of a clip that leaves most of its window to padding
ELSEWHERE, SEAM = "cut elsewhere: the same sound 15 s later in its window", "segment boundary every 30 s"
PADDED = f"padded with zeros in the mel or with silence, clip of {SHORT_S} s"
PEAK, DECODER = "mel peak of the file or of the window", "decoded by ffmpeg or by librosa"
POSITIONS, END = "positional encoding added on one side alone", "past the end: rows of zeros or of encoded silence"
V1, V15 = "musetalk-v1", "musetalk-v1.5"
QUIET_DB = -20  # of the quieter half, where the peak of the file is not that of the window
CHUNK_ROWS = 10
SAFE_SHARE, SAFE_WORST = 0.1, 1.0
RULE = (
    f"Safe: in every layer the rms is at most {SAFE_SHARE:g} of what neighbouring rows (20 ms) differ by, and no "
    f"single value is off by more than {SAFE_WORST:g} standard deviation of the content."
)


@dataclass(frozen=True)
class Cause:
    """One way in which two pipelines may differ, and what it costs."""

    name: str
    spec: str  # whose features, and whose content is the unit
    gap: Gap
    share: np.ndarray  # (n_layers,): its rms over what neighbouring rows differ by
    where: str  # which rows it concerns

    @property
    def cost(self) -> float:
        """The rms of the layer that suffers most, in standard deviations of the content."""
        return float(self.gap.rms.max())

    @property
    def safe(self) -> bool:
        """Whether it satisfies `RULE`."""
        return bool(self.share.max() <= SAFE_SHARE and self.gap.worst <= SAFE_WORST)

    @property
    def shade(self) -> str:
        """The colour of its line in a table."""
        return SHADES["good" if self.safe else "bad" if self.share.max() > SAFE_SHARE else "fair"]

    @property
    def verdict(self) -> str:
        """Say whether it is safe, and what is not."""
        if self.safe:
            return "yes"
        return "no" if self.share.max() > SAFE_SHARE else "single values are not"


@dataclass(frozen=True, eq=False, repr=False)
class Causes(Answer):
    """What each way in which pipelines differ costs, the most costly first."""

    weights: str
    content: dict[str, Places]  # by the name of a spec
    found: tuple[Cause, ...]

    def __getitem__(self, name: str) -> Cause:
        return next(cause for cause in self.found if name in (cause.name, f"{cause.name}, {cause.spec}"))

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        worst, safe = self.found[0], [cause for cause in self.found if cause.safe]
        seam, beside = self.content[V1].seam, self.content[V1].neighbours
        cheapest = f": {'; '.join(f'{c.name} ({c.spec})' for c in safe)}" if safe else ""
        return [
            f"The most costly difference, “{worst.name}”, costs {worst.cost:.2g} standard deviations of the content in "
            f"layer {worst.gap.rms.argmax()}; neighbouring rows differ by {beside.min():.2g} to {beside.max():.2g}.",
            f"{len(safe)} of {len(self.found)} differences are safe{cheapest}.",
            f"A segment boundary changes {2 * seam.reach} rows, {seam.reach} on each side of it, by "
            f"{seam.gap.rms.min():.2g} to {seam.gap.rms.max():.2g} standard deviations of the content.",
        ]

    def results(self) -> dict[str, list[float]]:
        """Return what a notebook records: the rms of every layer, by difference and features."""
        return {f"{cause.name}, {cause.spec}": cause.gap.rms.tolist() for cause in self.found}

    def table(self) -> Table:
        """Return what each costs, layer by layer."""
        layers = [f"layer {i}" for i in range(len(self.found[0].gap.rms))]
        lines = [
            [c.name, c.spec, *(_short(x) for x in c.gap.rms), _worst(c.gap), c.where, c.verdict] for c in self.found
        ]
        beside = [
            ["neighbouring rows, for comparison", name, *map(_short, c.neighbours), "–", "all", "–"]
            for name, c in self.content.items()
        ]
        caption = (
            f"rms over the content's standard deviation · weights: {self.weights}. {RULE} Content: the features "
            "without the mean of each place in the window."
        )
        head = ["difference", "features", *layers, "worst single value", "rows concerned", "safe?"]
        return Table(head, [*lines, *beside], caption, [cause.shade for cause in self.found])


def _short(number: float) -> str:
    return "0" if number == 0 else f"{number:.2g}" if number < 100 else f"{number:.0f}"


def _worst(gap: Gap) -> str:
    return f"{_short(gap.worst)} (layer {gap.worst_layer})" if gap.worst else "0"


def measure_causes(source: Source, encoder: Encoder, *, bfloat16: Encoder | None = None) -> Causes:
    """Measure what each way in which published pipelines differ costs in features.

    Parameters
    ----------
    source : path, binary file or (array, sample_rate)
        Speech, half a second or more.
    encoder : Encoder
        The weights.
    bfloat16 : Encoder, optional
        The same weights computing in bfloat16; loaded by the encoder's name if they are not given.

    Returns
    -------
    Causes

    Raises
    ------
    AudioError, EncoderError
        If the audio or the weights cannot be used.
    """
    bench = _Bench(
        source, encoder, bfloat16 or load_encoder(encoder.name, dtype="bfloat16", device=encoder.device.type)
    )
    found = sorted(bench.causes(), key=lambda cause: -cause.cost)
    return Causes(encoder.name, bench.content, tuple(found))


class _Bench:
    """The audio, its features by spec, and the measures: each yields what it found."""

    def __init__(self, source: Source, encoder: Encoder, bfloat16: Encoder):
        self.source, self.encoder, self.bfloat16 = source, encoder, bfloat16
        self.waveform = load_audio(source, decoder="ffmpeg")
        self.loop, self.short = looped(self.waveform), looped(self.waveform, SHORT_S)
        self.content = {name: measure_places(self.loop, encoder, name) for name in (V1, V15)}

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Features of the loop, by spec."""
        return {name: self.features(self.loop, name) for name in (V1, V15)}

    def features(self, waveform: np.ndarray, spec: str | FeatureSpec, encoder: Encoder | None = None) -> np.ndarray:
        """Make the features of a waveform."""
        return audio2feat((waveform, SAMPLE_RATE), encoder or self.encoder, spec=spec)

    def cause(self, name: str, spec: str, difference: np.ndarray | Gap, where: str = "all") -> Cause:
        """Express a difference of features in the unit of a spec's content."""
        content = self.content[spec]
        gap = difference if isinstance(difference, Gap) else gap_of(difference, content.std)
        return Cause(name, spec, gap, gap.rms / content.neighbours, where)

    def causes(self) -> Iterator[Cause]:
        """Measure all of them."""
        for spec in (V1, V15):
            yield from self.of_computing(spec)
            yield from self.of_windows(spec)
        yield from self.of_the_mel()
        yield from self.of_decoding()
        yield self.cause("v1's features or v1.5's", V1, self.rows[V1] - self.rows[V15])
        yield from self.of_chunks()

    def of_computing(self, spec: str) -> Iterator[Cause]:
        """Measure what types of lower precision cost."""
        rows = self.rows[spec]
        yield self.cause("stored in float16", spec, rows - rows.astype(np.float16).astype(np.float32))
        yield self.cause("computed in bfloat16", spec, rows - self.features(self.loop, spec, self.bfloat16))

    def of_windows(self, spec: str) -> Iterator[Cause]:
        """Measure what the place in the encoder's window costs."""
        content = self.content[spec]
        yield self.cause(ELSEWHERE, spec, content.moved)
        where = f"{2 * content.seam.reach} around each boundary"
        yield self.cause(SEAM, spec, content.seam.gap, where)

    def of_the_mel(self) -> Iterator[Cause]:
        """Measure what v1's log-mel does that others do not: the floor's peak, and what fills a window."""
        ours, window = FeatureSpec.named(V1), replace(FeatureSpec.named(V1), mel_peak="window")
        yield self.cause(PEAK, V1, self.rows[V1] - self.features(self.loop, window))
        uneven = self.loop.copy()
        uneven[: len(uneven) // 2] *= 10 ** (QUIET_DB / 20)
        quiet = [self.features(uneven, spec)[: len(self.rows[V1]) // 2] for spec in (ours, window)]
        name = f"{PEAK}, this half {-QUIET_DB} dB quieter"
        yield self.cause(name, V1, quiet[0] - quiet[1], "the quiet half")
        filled = [self.features(self.short, spec) for spec in (ours, replace(window, padding="audio"))]
        name = PADDED
        yield self.cause(name, V1, filled[0] - filled[1], "all of the last window")

    def of_decoding(self) -> Iterator[Cause]:
        """Measure what two decoders make of the file itself."""
        specs = (replace(FeatureSpec.named(V1), decoder=decoder) for decoder in ("ffmpeg", "librosa"))
        a, b = (audio2feat(self.source, self.encoder, spec=spec) for spec in specs)
        n_rows = min(len(a), len(b))
        yield self.cause(DECODER, V1, a[:n_rows] - b[:n_rows])

    def of_chunks(self) -> Iterator[Cause]:
        """Measure what v1.5's two sides do differently with the same features."""
        n_layers, width = self.rows[V15].shape[1:]
        added = add_positions(np.zeros((CHUNK_ROWS * n_layers, width), np.float32))
        yield self.cause(POSITIONS, V15, added.reshape(CHUNK_ROWS, n_layers, width))
        kept = replace(FeatureSpec.named(V15), keep_padding=True)
        padding = self.features(self.short, kept)[SHORT_S * ROW_RATE :][:CHUNK_ROWS]
        yield self.cause(
            "past the end: rows of zeros or of encoded silence", V15, padding, "up to 6 a chunk, at the end"
        )
