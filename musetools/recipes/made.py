"""Which published pipeline made a file of features, found by making them again in every way that is known."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musetools.audio.decode import Source
from musetools.audio.load import load_audio
from musetools.errors import ParameterError, as_array
from musetools.features.spec import SPEC_NAMES, FeatureSpec
from musetools.files import read_npy
from musetools.recipes.datasets import numbered_files
from musetools.recipes.identify import Matches
from musetools.recipes.recipe import RECIPES
from musetools.timing import ROW_MS, SAMPLE_RATE

if TYPE_CHECKING:
    from musetools.features.encoder import Encoder

__all__ = ["FeaturesMatch", "identify_features"]

SAME = 0.004  # of the content's deviation: float16 lies at 0.0005, another decoder's resampler at 0.009 and above
SAME_AUDIO = 0.25  # of the input embedding's: another spec lies below 0.12, other audio above 0.35
SAME_WEIGHTS = 0.5  # correlation of mean rows: above 0.86 for the same weights, below 0.1 for others
SLOW = 8  # last columns of each half of the embedding, whose positions hardly change within a window
SAME_SOUND = 0.8  # of these columns' deviation: audio cut elsewhere lies at most at 0.64, other audio at least at 1.06
SLOW_HOP_S = 1  # windows that keep less are tried where no others made the features


@dataclass(frozen=True)
class FeaturesMatch:
    """How far features lie from those that a spec makes."""

    spec: str  # its name; of equal specs the first one's
    distance: float  # rms over the deviation of the spec's own features, mean of the layers
    layers: tuple[float, ...]  # the same for each layer
    rows: int  # how many more rows there are than the spec makes
    moved: int  # rows by which the features are moved

    def __repr__(self) -> str:
        layers = " ".join(f"{layer:.3f}" for layer in self.layers)
        return f"{self.spec}: distance {self.distance:.4f} (by layer {layers}), {self.rows:+d} rows"


def identify_features(
    features: np.ndarray | str | os.PathLike, audio: Source, encoder: "Encoder | str | os.PathLike"
) -> Matches:
    """Find the spec that made features.

    Parameters
    ----------
    features : ndarray, tensor or path
        Rows ``(n_rows, n_layers, width)`` or stacked chunks ``(n, rows · n_layers, width)``; or a ``.npy`` or ``.pt``
        file of these, or a folder of MuseTalk's ``k.npy``, two rows each. No file is allowed to run code.
    audio : path, binary file or (array, sample_rate)
        What they are said to be made of.
    encoder : Encoder or str
        What they are said to be made with; a name is passed to `load_encoder`.

    Returns
    -------
    Matches
        `FeaturesMatch` of each spec, best first, with `summary`; none where layers or width are not the encoder's.

    Raises
    ------
    ParameterError
        If they cannot be read, or a number is missing among the files of a folder.
    EncoderError
        If the encoder cannot be loaded.
    """
    from musetools.features.encoder import as_encoder
    from musetools.features.extract import audio2feat

    encoder, array = as_encoder(encoder), _read(features)
    given, notes, found = *_rows(array, encoder), Matches()
    if given is None:
        sizes = f"{array.shape[1]} × {array.shape[2]} (layers, or rows · layers, by width)"
        found.message = f"another model: it has {sizes}; {encoder.name} has {encoder.n_layers} × {encoder.width}"
    else:
        features_of = partial(audio2feat, encoder=encoder)
        plain = features_of(audio)
        with np.errstate(over="ignore", invalid="ignore"):  # values that are all alike, or huge
            found = Matches(_matches(given, plain, partial(features_of, audio)))
            found.message = _message(found, given, plain, lambda: features_of(_backwards(audio)))
    found.notes = f"{array.dtype} {array.shape}", *notes
    return found


def _read(features: np.ndarray | str | os.PathLike) -> np.ndarray:
    if not isinstance(features, (str, os.PathLike)):
        return _array(features)
    path = Path(features)
    try:
        if path.is_dir():
            files, missing = numbered_files(path, (".npy",))
            if missing is not None:
                raise ValueError(f"{missing}.npy is missing{f', its first is {files[0].name}' if files else ''}")
            return np.stack([_read(file) for file in files])
        if path.suffix in (".pt", ".pth"):
            from musetools.features.weights import load_pickled  # torch

            return _array(load_pickled(path))
        return read_npy(path)
    except ParameterError:  # one file of a folder
        raise
    except Exception as error:  # torch and numpy raise anything on what is no file of theirs
        raise ParameterError(
            f"{path} holds no features that can be read: {error}. Name an .npy, .pt or folder of .npy"
        ) from None


def _array(features: Any) -> np.ndarray:
    if isinstance(features, Mapping):
        names = ", ".join(map(repr, list(features)[:5]))
        raise ParameterError(
            f"features are one array or tensor; got a dict of {names}. Save that of the features alone"
        )
    return as_array(features)


def _rows(given: np.ndarray, encoder: "Encoder") -> tuple[np.ndarray | None, list[str]]:
    """Return features of any layout as rows, with notes; None if their layers or width are not the encoder's."""
    if given.ndim != 3 or given.dtype.kind != "f" or not given.size:
        raise ParameterError(
            f"features are floats in three dimensions; got {given.dtype} {given.shape}. Name other files"
        )
    if not np.isfinite(given).all():
        bad = int(np.argwhere(~np.isfinite(given))[0, 0])
        raise ParameterError(f"features must be finite; index {bad} of {len(given)} is not. Make them again")
    n_layers, width = encoder.n_layers, encoder.width
    if given.shape[2] != width or given.shape[1] % n_layers:
        return None, []
    rows, notes = given.reshape(len(given), -1, n_layers, width), []
    if rows.shape[1] > 2:
        notes = [f"stacked chunks of {rows.shape[1]} rows, taken for 25 fps with equal context on both sides"]
        middle = rows.shape[1] // 2
        rows = rows[:, middle - 1 : middle + 1]
    return rows.reshape(-1, n_layers, width).astype(np.float32), notes


def _candidates() -> dict[FeatureSpec, str]:
    specs = {}
    for name in SPEC_NAMES:
        specs.setdefault(FeatureSpec.named(name), name)
    for name, recipe in RECIPES.items():
        specs.setdefault(recipe.features, name)
    return specs


def _matches(given: np.ndarray, plain: np.ndarray, features_of: Callable[..., np.ndarray]) -> list[FeaturesMatch]:
    """Compare with every spec, where `plain` is that of "musetools"; slow windows only if they may have made it."""
    found: list[FeaturesMatch] = []
    alike = _same_weights(given, plain)
    for spec, name in sorted(_candidates().items(), key=lambda item: -item[0].window.hop_s):
        if spec.window.hop_s <= SLOW_HOP_S and (not alike or min(found, key=_rank).distance < SAME):
            break
        made = plain if name == "musetools" else features_of(spec=spec)
        found.append(_match(name, given, made, len(plain)))
    return sorted(found, key=_rank)


def _rank(match: FeaturesMatch) -> tuple[float, int]:
    return np.rint(match.distance / SAME), abs(match.rows)


def _match(name: str, given: np.ndarray, made: np.ndarray, n_rows: int) -> FeaturesMatch:
    deviation = np.sqrt(made[:n_rows].var(axis=0).mean(axis=-1)) + 1e-9  # of the audio, without padding that is kept
    moved, layers = 0, _distance(given, made, 0) / deviation
    if layers.mean() >= SAME:
        there = _shift(given, made)[0]
        if (other := _distance(given, made, there) / deviation).mean() < layers.mean():
            moved, layers = there, other
    return FeaturesMatch(name, float(layers.mean()), tuple(map(float, layers)), len(given) - len(made), moved)


def _distance(given: np.ndarray, made: np.ndarray, moved: int) -> np.ndarray:
    """Return each layer's rms, where row k of what is given is row k + moved of what is made."""
    given, made = given[max(0, -moved) :], made[max(0, moved) :]
    shared = min(len(given), len(made))
    return np.sqrt(np.square(given[:shared] - made[:shared]).mean((0, 2)))


def _shift(given: np.ndarray, made: np.ndarray) -> tuple[int, float]:
    """Return by how many rows features are moved, half of the shorter shared at least, and how far they then lie apart.

    Seen on the slow columns of the embedding: there audio that was cut before it was encoded is nearly itself, too. All
    shifts are tried at once: sum (g - m)^2 = sum g^2 + sum m^2 - 2 sum g m, whose last term is one convolution.
    """
    half = made.shape[2] // 2
    slow = np.r_[half - SLOW : half, 2 * half - SLOW : 2 * half]
    middle = made[:, 0, slow].mean(0, dtype=np.float64)
    g, m = (rows[:, 0, slow] - middle for rows in (given, made))
    n, moved = len(g) + len(m) - 1, np.arange(1 - len(g), len(m))
    first, begin = np.maximum(moved, 0), np.maximum(-moved, 0)
    shared = np.minimum(len(m) - first, len(g) - begin)
    both = np.fft.irfft((np.fft.rfft(m, n, axis=0) * np.fft.rfft(g, n, axis=0).conj()).sum(1), n)[moved]
    of_g, of_m = (np.append(0, np.square(rows).sum(1).cumsum()) for rows in (g, m))
    apart = of_m[first + shared] - of_m[first] + of_g[begin + shared] - of_g[begin] - 2 * both
    apart = np.where(2 * shared < min(len(g), len(m)), np.inf, apart / shared)
    best = int(apart.argmin())
    return int(moved[best]), float(np.sqrt(max(apart[best], 0) / (m.var(0).sum() + 1e-9)))


def _same_weights(given: np.ndarray, plain: np.ndarray) -> bool:
    middle = slice(1, -1)  # the last layer may be normed in one of the two
    return np.corrcoef(given.mean(0)[middle].ravel(), plain.mean(0)[middle].ravel())[0, 1] >= SAME_WEIGHTS


def _message(found: Matches, given: np.ndarray, plain: np.ndarray, backwards: Callable[[], np.ndarray]) -> str:
    best = found[0]
    place = best.moved, best.rows
    same = " or ".join(match.spec for match in found if match.distance < SAME and (match.moved, match.rows) == place)
    if same:
        return f"it is {same}{_by(best.moved) if best.moved else ''}{_at_end(best)}"
    if not _same_weights(given, plain):
        return "no spec of this encoder: made with other weights, or not Whisper"
    moved, apart = _shift(given, plain)
    if moved and apart < SAME_SOUND:
        was = f"{_by(moved)} before it was encoded, or at another speed"
        return f"made with these weights of this audio{was}: name the audio that was"
    if best.layers[0] < SAME_AUDIO:
        return f"no spec that is known, of this audio and these weights: nearest is {best.spec}{_at_end(best)}"
    if _match("", given, backwards(), len(plain)).layers[0] < SAME_AUDIO:
        return "made with these weights of this audio played backwards"
    return (
        "made with these weights of other audio, or changed since: scaled, mixed, reversed, at "
        "another rate, or with positional encoding"
    )


def _by(moved: int) -> str:
    return f", moved by {moved:+d} rows ({moved * ROW_MS:+d} ms)"


def _at_end(match: FeaturesMatch) -> str:
    return f", {more:+d} rows at the end" if (more := match.rows + match.moved) else ""


def _backwards(audio: Source) -> tuple[np.ndarray, int]:
    return load_audio(audio)[::-1].copy(), SAMPLE_RATE
