"""Storage and loading in tables, figures and sentences."""

import os
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch.utils.data import Dataset

from musetools.audio.load import load_audio
from musetools.chunks.sequence import feature2chunks
from musetools.features.encoder import Encoder
from musetools.lab.look import COLOURS, TRAIN, figure
from musetools.lab.storage.measure import ChunkFiles, FrameFiles, disk_bytes, fill_store
from musetools.table import Table
from musetools.timing import SAMPLE_RATE
from musetools.train.dataset import ChunkDataset
from musetools.train.layouts import export_frame_files
from musetools.train.store import FeatureStore

__all__ = ["clip_sizes", "float16_figure", "loading_sentences", "make_layouts", "rate_figure", "size_figure"]
__all__ += ["size_sentences", "size_table", "worker_figure"]

SOURCE, PCM, FLOAT32, FLOAT16 = (
    "the media file",
    "16 kHz PCM, 16 bits",
    "one npy a clip, float32",
    "one npy a clip, float16",
)
FRAMES, CHUNKS = "one npy a frame, float32", "chunks, float32"
BASELINE = "one npy a frame"
SOUND, STORE, OTHER = "the sound itself", "features in a store", "features in other layouts"
KINDS = {SOUND: COLOURS["black"], STORE: TRAIN, OTHER: COLOURS["orange"]}


def clip_sizes(store: FeatureStore, clip: str, encoder: Encoder, folder: Path) -> dict[str, int]:
    """Write one clip in every layout and return the bytes that each takes on the disk.

    Parameters
    ----------
    store : FeatureStore
        In float32, with clips that were extracted from files.
    clip : str
        Which clip.
    encoder : Encoder
        The store's.
    folder : Path
        Where to write.

    Returns
    -------
    dict of str to int
        Bytes by layout.
    """
    folder.mkdir(parents=True)
    source, features = store.record(clip).source["path"], store[clip]
    soundfile.write(folder / "pcm.wav", load_audio(source), SAMPLE_RATE, subtype="PCM_16")
    one = FeatureStore.create(folder / "one", store.spec, encoder)
    one.add_rows("clip", np.asarray(features))
    export_frame_files(one, folder / "frames")
    np.save(folder / "float16.npy", features.astype(np.float16), allow_pickle=False)
    np.save(folder / "chunks.npy", feature2chunks(features, 25).batch(), allow_pickle=False)
    return {
        SOURCE: disk_bytes([source]),
        PCM: disk_bytes([folder / "pcm.wav"]),
        FLOAT16: disk_bytes([folder / "float16.npy"]),
        FLOAT32: disk_bytes([one.path("clip")]),
        FRAMES: disk_bytes((folder / "frames").rglob("*.npy")),
        CHUNKS: disk_bytes([folder / "chunks.npy"]),
    }


def size_table(sizes: dict[str, int], duration_s: float, hours: float) -> Table:
    """Return the sizes of one clip, and scaled to a corpus."""
    scale = hours * 3600 / duration_s
    lines = [
        [name, f"{n / 1e6:.2f} MB", f"{n * scale / 1e9:.1f} GB", f"{n / sizes[PCM]:.2g}"] for name, n in sizes.items()
    ]
    return Table(["layout", f"{duration_s:.2f} s", f"{hours:g} h", "times PCM"], lines)


def size_figure(sizes: dict[str, int], duration_s: float, hours: float) -> Figure:
    """Draw what a corpus takes on the disk in each layout."""
    scale = hours * 3600 / duration_s / 1e9
    taken = {name: n * scale for name, n in sizes.items()}
    kinds = {SOURCE: SOUND, PCM: SOUND, FLOAT16: STORE, FLOAT32: STORE}
    return _bars(
        taken,
        [f"{gb:,.0f} GB" for gb in taken.values()],
        [kinds.get(name, OTHER) for name in taken],
        title=f"Features in float32 take {sizes[FLOAT32] / sizes[PCM]:.0f} times the room of their 16-bit sound",
        xlabel=f"GB on the disk for {hours:g} h (logarithmic)",
        xscale="log",
        xmargin=0.12,
    )


def size_sentences(sizes: dict[str, int], duration_s: float, hours: float) -> list[str]:
    """Say what features are larger and smaller than."""
    gb = hours * 3600 / duration_s / 1e9
    return [
        f"Features are larger than the sound that they come from: {sizes[FLOAT32] / sizes[PCM]:.0f} times 16-bit PCM, "
        f"{sizes[FLOAT32] / sizes[SOURCE]:.0f} times the media file ({sizes[FLOAT32] * gb:,.0f} GB for {hours:g} h).",
        f"They are smaller than what is made of them: chunks take {sizes[CHUNKS] / sizes[FLOAT32]:.1f} times as much, "
        "since every row stands in five of them.",
        f"One npy a frame takes {sizes[FRAMES] / sizes[FLOAT32]:.2f} times one npy a clip: headers, half-empty blocks.",
        f"float16 takes {sizes[FLOAT16] / sizes[FLOAT32]:.2f} times float32.",
    ]


def float16_figure(errors: np.ndarray, *, weights: str) -> Figure:
    """Draw the largest error of float16, layer by layer."""
    with figure(figsize=(9, 2.6)) as (fig, axes):
        ax = axes[0, 0]
        bars = ax.bar(
            [f"layer {i}" for i in range(len(errors))], 1000 * errors, color=TRAIN, label="largest error of float16"
        )
        ax.bar_label(bars, [f"{1000 * e:.2f}" for e in errors], padding=2)
        ax.set_ylabel("thousandths of a\nstandard deviation")
        ax.margins(y=0.2)
        ax.set_title(f"float16 is off by {errors.max():.2g} standard deviations at most · weights: {weights}")
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def make_layouts(
    folder: Path, features: np.ndarray, encoder: Encoder, n_clips: int, seconds: float
) -> dict[str, Dataset]:
    """Write the same clips in every layout and return a dataset over each, the baseline first."""
    folder.mkdir(parents=True)
    made: dict[str, Dataset] = {}
    for dtype in ("float32", "float16"):
        store = FeatureStore.create(folder / dtype, "musetools", encoder, dtype=dtype)
        fill_store(store, features, n_clips, seconds)
        if dtype == "float32":
            export_frame_files(store, folder / "frames")
            made[BASELINE] = FrameFiles(folder / "frames")
            os.mkdir(folder / "chunks")
            made["chunks, mapped"] = ChunkFiles(store, folder / "chunks")
        made[f"store, {dtype}"] = ChunkDataset(store)
    return made


def rate_figure(rates: dict[str, float]) -> Figure:
    """Draw how many samples a second each layout gives, without workers."""
    base, best = rates[BASELINE], max(rates, key=rates.get)
    return _rates_drawn(
        {name: (rate, f", {rate / base:.0f}×") for name, rate in rates.items()},
        "no workers",
        f"{best} loads {rates[best] / base:.0f} times as fast as one npy a frame",
    )


def worker_figure(rates: dict[int, float]) -> Figure:
    """Draw what DataLoader workers do to features alone."""
    best = max(rates, key=rates.get)
    return _rates_drawn(
        {f"store, {n} workers": (rate, "") for n, rate in rates.items()},
        "store in float32",
        f"Features alone load fastest with {best} workers",
    )


def _rates_drawn(rates: dict[str, tuple[float, str]], how: str, title: str) -> Figure:
    """Draw a bar for each rate, labelled with it and what follows it."""
    return _bars(
        {name: rate / 1000 for name, (rate, _) in rates.items()},
        [f"{rate / 1000:,.1f} thousand{more}" for rate, more in rates.values()],
        [STORE if name.startswith("store") else OTHER for name in rates],
        title=title,
        xlabel=f"thousand samples per second, {how}",
        xmargin=0.3,
    )


def _bars(values: dict[str, float], labels: list[str], kinds: list[str], *, title: str, **axis: object) -> Figure:
    """Draw a labelled bar for each layout, in the colour of its kind."""
    with figure(figsize=(9, 1.3 + 0.4 * len(values))) as (fig, axes):
        ax = axes[0, 0]
        ax.set(**axis)
        bars = ax.barh(list(values), list(values.values()), color=[KINDS[kind] for kind in kinds])
        ax.bar_label(bars, labels, padding=4)
        ax.invert_yaxis()
        ax.set_title(title)
        handles = [Patch(color=KINDS[kind], label=kind) for kind in dict.fromkeys(kinds)]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig


def loading_sentences(rates: dict[str, float], worker_rates: dict[int, float], errors: np.ndarray) -> list[str]:
    """Say which of the usual claims hold."""
    base, none = rates[BASELINE], worker_rates[0]
    best = max((n for n in worker_rates if n), key=worker_rates.get)
    return [
        f"One npy a clip, cut while it is read, loads {rates['store, float32'] / base:.0f} times as fast as one npy a "
        f"frame, in float16 {rates['store, float16'] / base:.0f} times.",
        f"Chunks on disk load {rates['chunks, mapped'] / base:.0f} times as fast, for their room.",
        f"With {best} workers features alone load {worker_rates[best] / none:.2f} times as fast as without.",
        f"float16 changes a feature by {errors.max():.2g} standard deviations at most.",
    ]
