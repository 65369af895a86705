"""What each way in which pipelines differ costs: one table, in standard deviations of the content, layer by layer.

Everything is measured on the audio that is given, repeated to a minute, unless a line says otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from musetools.audio.decode import Source
from musetools.audio.load import load_audio
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.lab.answer import Answer
from musetools.lab.content import STEP, WINDOW, Content, Gap, content_of, gap_of, looped, turned_windows
from musetools.recipes.recipe import sinusoids
from musetools.table import SHADES, Table
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["CAUSE_OF", "EVERY_PAIR", "RULE", "SHADE", "Cause", "Causes", "Places", "measure_causes", "measure_places"]

SHORT_S = 10  # of a clip that leaves most of its window to padding
ELSEWHERE, BOUNDARY = "cut elsewhere: the same sound 15 s later in its window", "segment boundary every 30 s"
CAUSE_OF = {  # what a pair may make differently, and the cause that is measured for it
    "decoder": "decoded by ffmpeg or by librosa",
    "mel_peak": "mel peak of the file or of the window",
    "padding": f"padded with zeros in the mel or with silence, clip of {SHORT_S} s",
    "final_norm": "last layer normed on one side alone",
    "positional encoding": "positional encoding added on one side alone",
    "keep_padding": "past the end: rows of zeros or of encoded silence",
}
EVERY_PAIR = (ELSEWHERE, BOUNDARY)  # where a clip lies in the encoder's window, no recipe says
V1, V15 = "musetalk-v1", "musetalk-v1.5"
QUIET_DB = -20  # of the quieter half, where the peak of the file is not that of the window
CHUNK_ROWS = 10
HALF = WINDOW // 2  # rows: the same sound half a window later
MIDDLE = slice(WINDOW // 4, WINDOW // 2 - 125)  # places that, as those half a window later, are far from both ends
SMOOTH = 5  # rows: 100 ms
SEEN = 1.5  # times what rows in the middle differ by
SAFE_SHARE, SAFE_WORST = 0.1, 1.0
SHADE = {"yes": SHADES["good"], "single values are not": SHADES["fair"], "no": SHADES["bad"]}  # by verdict
RULE = (
    f"Safe: in every layer the rms is at most {SAFE_SHARE:g} of what neighbouring rows (20 ms) differ by, and no "
    f"single value is off by more than {SAFE_WORST:g} standard deviation of the content."
)


@dataclass(frozen=True)
class Places(Content):
    """The content of features, and what depends on the place in the encoder's window alone."""

    moved: Gap  # the same sound, half a window later
    reach: int  # rows on each side of a segment boundary that differ visibly more than those in the middle
    boundary: Gap  # of these rows, beyond what another place does; where there are none, of the first


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
    def verdict(self) -> str:
        """Whether it satisfies `RULE`: one of the keys of `SHADE`."""
        if self.share.max() > SAFE_SHARE:
            return "no"
        return "yes" if self.gap.worst <= SAFE_WORST else "single values are not"


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
        worst, safe = self.found[0], [cause for cause in self.found if cause.verdict == "yes"]
        v1, beside = self.content[V1], self.content[worst.spec].neighbours
        cheapest = f": {'; '.join(f'{c.name} ({c.spec})' for c in safe)}" if safe else ""
        return [
            f"The most costly difference, “{worst.name}”, costs {worst.cost:.2g} standard deviations of the content in "
            f"layer {worst.gap.rms.argmax()}; neighbouring rows differ by {beside.min():.2g} to {beside.max():.2g}.",
            f"{len(safe)} of {len(self.found)} differences are safe{cheapest}.",
            f"A segment boundary changes {2 * v1.reach} rows, {v1.reach} on each side of it, by "
            f"{v1.boundary.rms.min():.2g} to {v1.boundary.rms.max():.2g} standard deviations of the content.",
        ]

    def results(self) -> dict[str, list[float]]:
        """Return what a notebook records: the rms of every layer, by difference and features."""
        return {f"{cause.name}, {cause.spec}": cause.gap.rms.tolist() for cause in self.found}

    def table(self) -> Table:
        """Return what each costs, layer by layer."""
        lines = [[c.name, c.spec, *map(_short, c.gap.rms), _worst(c.gap), c.where, c.verdict] for c in self.found]
        for name, content in self.content.items():
            lines.append(["neighbouring rows, for comparison", name, *map(_short, content.neighbours), "–", "all", "–"])
        caption = (
            f"rms over the content's standard deviation · weights: {self.weights}. {RULE} Content: the features "
            "without the mean of each place in the window."
        )
        layers = [f"layer {i}" for i in range(len(self.found[0].gap.rms))]
        head = ["difference", "features", *layers, "worst single value", "rows concerned", "safe?"]
        return Table(head, lines, caption, [SHADE[cause.verdict] for cause in self.found])


def _short(number: float) -> str:
    return f"{number:.2g}" if number < 100 else f"{number:.0f}"


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
    bfloat16 = bfloat16 or load_encoder(encoder.name, dtype="bfloat16", device=encoder.device.type)
    waveform = load_audio(source, decoder="ffmpeg")
    content = {spec: measure_places(looped(waveform), encoder, spec) for spec in (V1, V15)}
    gaps = [(ELSEWHERE, spec, places.moved, "all") for spec, places in content.items()]
    gaps += [(BOUNDARY, spec, p.boundary, f"{2 * p.reach} around each boundary") for spec, p in content.items()]
    for name, spec, difference, where in _differences(source, waveform, encoder, bfloat16):
        gaps.append((name, spec, gap_of(difference, content[spec].std), where))
    found = [Cause(name, spec, gap, gap.rms / content[spec].neighbours, where) for name, spec, gap, where in gaps]
    return Causes(encoder.name, content, tuple(sorted(found, key=lambda cause: -cause.cost)))


def measure_places(waveform: np.ndarray, encoder: Encoder, spec: str | FeatureSpec) -> Places:
    """Measure the content of a waveform's features, and what their place in the window does to them."""
    windows = turned_windows(waveform, encoder, spec)
    content, moved = content_of(windows), _half_later(windows, slice(0, HALF))
    windows -= windows.mean(axis=0)  # so that places alone make no difference
    # rows near a window's ends, against the same sound in the middle of another window
    start = _half_later(windows, slice(0, STEP))
    end = np.roll(_half_later(windows, slice(HALF - STEP, HALF)), -HALF // STEP, axis=0)[:, ::-1]
    near = np.concatenate([start, end])  # by distance from a boundary, after it and before it
    by_row = np.sqrt(np.square(near).mean(axis=(0, 3))) / content.std
    middle = gap_of(_half_later(windows, MIDDLE), content.std).rms
    # layer 0 attends to nothing: what most other layers see of a boundary says how far it reaches
    ratio = np.median(by_row[:, 1:] / middle[1:], axis=1)
    smooth = np.convolve(ratio, np.ones(SMOOTH) / SMOOTH, "valid")
    reach = int(np.argmin(np.append(smooth > SEEN, False)))
    boundary = gap_of(near[:, : max(1, reach)], content.std)
    return Places(content.std, content.neighbours, gap_of(moved, content.std), reach, boundary)


def _half_later(windows: np.ndarray, places: slice) -> np.ndarray:
    """Return by how much the same sounds differ at some places and half a window later, (n_windows, n, ...)."""
    earlier = np.roll(windows, HALF // STEP, axis=0)  # the window that starts half a window before each
    return windows[:, places] - earlier[:, places.start + HALF : places.stop + HALF]


def _differences(
    source: Source, waveform: np.ndarray, encoder: Encoder, bfloat16: Encoder
) -> Iterator[tuple[str, str, np.ndarray, str]]:
    """Yield the name of each cause, the spec whose content is its unit, the difference, and which rows it concerns."""
    loop, short = looped(waveform), looped(waveform, SHORT_S)
    v1, v15 = FeatureSpec.named(V1), FeatureSpec.named(V15)
    window_peak = replace(v1, mel_peak="window")

    def features(samples: np.ndarray, spec: FeatureSpec, weights: Encoder = encoder) -> np.ndarray:
        return audio2feat((samples, SAMPLE_RATE), weights, spec=spec)

    rows = {V1: features(loop, v1), V15: features(loop, v15)}
    for spec, made in rows.items():
        yield "stored in float16", spec, made - made.astype(np.float16).astype(np.float32), "all"
        yield "computed in bfloat16", spec, made - features(loop, FeatureSpec.named(spec), bfloat16), "all"
    yield "v1's features or v1.5's", V1, rows[V1] - rows[V15], "all"

    yield CAUSE_OF["mel_peak"], V1, rows[V1] - features(loop, window_peak), "all"
    half, uneven = len(rows[V1]) // 2, loop.copy()
    uneven[: len(uneven) // 2] *= 10 ** (QUIET_DB / 20)
    quiet = features(uneven, v1)[:half] - features(uneven, window_peak)[:half]
    yield f"{CAUSE_OF['mel_peak']}, this half {-QUIET_DB} dB quieter", V1, quiet, "the quiet half"
    padded = features(short, v1) - features(short, replace(window_peak, padding="audio"))
    yield CAUSE_OF["padding"], V1, padded, "all of the last window"

    a, b = (audio2feat(source, encoder, spec=replace(v1, decoder=decoder)) for decoder in ("ffmpeg", "librosa"))
    n_rows = min(len(a), len(b))
    yield CAUSE_OF["decoder"], V1, a[:n_rows] - b[:n_rows], "all"

    yield CAUSE_OF["final_norm"], V15, rows[V15] - features(loop, replace(v15, final_norm=False)), "all"
    n_layers, width = rows[V15].shape[1:]
    encoding = sinusoids(CHUNK_ROWS * n_layers, width).reshape(CHUNK_ROWS, n_layers, width)
    yield CAUSE_OF["positional encoding"], V15, encoding, "all"
    beyond = features(short, replace(v15, keep_padding=True))[SHORT_S * ROW_RATE :][:CHUNK_ROWS]
    yield CAUSE_OF["keep_padding"], V15, beyond, "up to 6 a chunk, at the end"
