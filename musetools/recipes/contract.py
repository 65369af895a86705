"""Everything that makes a chunk, in one file beside a checkpoint: what training used, inference must use."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musetools.audio.decode import Source
from musetools.chunks.rows import chunk_rows
from musetools.chunks.sequence import Chunks, feature2chunks
from musetools.chunks.settings import ChunkSettings
from musetools.errors import ContractError, ParameterError
from musetools.features.spec import FeatureSpec
from musetools.files import write_whole
from musetools.recipes.probe import PROBE_ROWS, Probe, ProbeCheck, check_probe, probe_waveform
from musetools.recipes.recipe import add_positions
from musetools.schema import POSITIVE, RATE, TEXT, Schema, either, exactly, list_of, read_json
from musetools.table import ShownAsText
from musetools.timing import SAMPLE_RATE, exact_fps

if TYPE_CHECKING:
    from musetools.features.encoder import Encoder

__all__ = ["AudioContract", "checked_contract", "differing", "encoder_facts", "library_versions"]

VERSION = 2
LIBRARIES = ("musetools", "torch", "openai-whisper", "numpy", "av", "soxr", "soundfile")
NAMES = {"encoder.name"}  # what a file was called does not change what was in it


_FLAG = {"type": "boolean"}
_LIST, _SECONDS = {"type": "array"}, {"type": ["number", "null"]}
_WINDOW = exactly(left_s=_SECONDS, hop_s=_SECONDS, right_s=_SECONDS, pad_to_s=_SECONDS, positions=TEXT)
_FEATURES = {"decoder": TEXT, "mel_peak": TEXT, "padding": TEXT, "final_norm": _FLAG, "keep_padding": _FLAG}
_PROBE = exactly(fps=RATE, tolerance=_LIST, frames=_LIST, columns=_LIST, rows=_LIST, values=_LIST)
CONTRACT = Schema(
    exactly(
        version=POSITIVE,
        features=exactly(**_FEATURES, window=_WINDOW),
        encoder=exactly(name=TEXT, fingerprint=TEXT, dtype=TEXT, n_layers=POSITIVE, width=POSITIVE),
        chunks=exactly(fps={**RATE, "type": ["string", "null"]}, context=_LIST, edge=TEXT),
        rates=list_of(RATE),
        positional_encoding=_FLAG,
        libraries={"type": "object", "additionalProperties": TEXT},
        probe=either(None, _PROBE),
    )
)


def encoder_facts(encoder: "Encoder") -> dict[str, Any]:
    """Say in plain values which weights these are, and how they compute; ParameterError if it is no encoder."""
    if not hasattr(encoder, "fingerprint"):
        raise ParameterError(f"an Encoder is needed; got {encoder!r:.60}. Load it once: musetools.load_encoder")
    return {name: getattr(encoder, name) for name in ("name", "fingerprint", "dtype", "n_layers", "width")}


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that features pass through."""
    return {name: version(name) for name in LIBRARIES}


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], here: str, there: str) -> list[str]:
    """Say, entry by entry, what two nested dicts do not share; names of weights do not count."""
    mine, other = dict(_flat(ours)), dict(_flat(theirs))
    keys = [key for key in sorted(mine.keys() | other.keys()) if key not in NAMES]
    return [f"{k}: {mine.get(k)} {here}, {other.get(k)} {there}" for k in keys if mine.get(k) != other.get(k)]


def _flat(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@dataclass(frozen=True, repr=False)
class AudioContract(ShownAsText):
    """Everything that makes a chunk of audio.

    `FeatureStore.contract` makes one; `save` it beside the checkpoint.

    Parameters
    ----------
    spec : FeatureSpec
        How features are made.
    encoder : dict
        Name, fingerprint, dtype, n_layers and width of the weights, see `encoder_facts`.
    settings : ChunkSettings
        Frame rate (None: each clip's own), context and edge rule, as training took its chunks.
    rates : tuple of Fraction, default ()
        Frame rates that training saw.
    positional_encoding : bool, default False
        Whether `add_positions` is applied to each chunk before the model sees it.
    libraries : dict of str to str
        Versions that the features were made with. They are a note: nothing is refused for them.
    probe : Probe, optional
        Chunks of 33 s of audio given by a formula, for `check`.
    """

    spec: FeatureSpec
    encoder: Mapping[str, Any]
    settings: ChunkSettings
    rates: tuple[Fraction, ...] = ()
    positional_encoding: bool = False
    libraries: Mapping[str, str] = field(default_factory=library_versions, compare=False)
    probe: Probe | None = field(default=None, compare=False)

    @property
    def edge(self) -> str:
        """The edge rule of inference: frames that training dropped are clamped, since the video needs them."""
        return "clamp" if self.settings.edge == "drop" else self.settings.edge

    def checked_rate(self, fps: float | Fraction | None = None) -> Fraction:
        """Return the frame rate of inference; ParameterError if training saw none such."""
        allowed = {self.settings.fps} if self.settings.fps else set(self.rates)
        if fps is None and len(allowed) == 1:
            return next(iter(allowed))
        if fps is None or exact_fps(fps) not in allowed:
            seen = ", ".join(f"{float(rate):.6g}" for rate in sorted(allowed)) or "no known rate"
            got = fps if fps is None else f"{float(fps):.6g}"
            raise ParameterError(
                f"training took chunks at {seen} fps; got {got}. Name one of these, convert the video, or "
                "train on that rate"
            )
        return exact_fps(fps)

    def check_encoder(self, encoder: "Encoder") -> None:
        """Raise ContractError if these are other weights, or compute in another type."""
        if other := differing(
            {"encoder": self.encoder}, {"encoder": encoder_facts(encoder)}, "in the contract", "here"
        ):
            raise ContractError(
                f"the contract was made with weights {self.encoder['name']}: {'; '.join(other)}. Load those"
            )

    def chunks(
        self, audio: Source, encoder: "Encoder | str | os.PathLike", fps: float | Fraction | None = None
    ) -> Chunks:
        """Make the chunks of a clip with everything that made them for training.

        Parameters
        ----------
        audio, encoder
            As in `audio2feat`; the encoder with the contract's weights.
        fps : float or Fraction, optional
            Frame rate of the video that is made; by default the one of training, where that had one.

        Returns
        -------
        Chunks
            One for every frame, without positional encoding: `model_input` gives a chunk as the model sees it.

        Raises
        ------
        ContractError
            If the weights are others.
        ParameterError
            If training saw no clip of this frame rate.
        """
        from musetools.features.encoder import as_encoder
        from musetools.features.extract import audio2feat

        encoder = as_encoder(encoder)
        self.check_encoder(encoder)
        fps = self.checked_rate(fps)  # before anything is encoded
        return feature2chunks(audio2feat(audio, encoder, spec=self.spec), fps, self.settings.context, edge=self.edge)

    def model_input(self, chunk: np.ndarray) -> np.ndarray:
        """Return a chunk, or a batch of them, as the model sees it: with positional encoding where training had it."""
        return add_positions(chunk) if self.positional_encoding else chunk

    def with_probe(self, encoder: "Encoder") -> "AudioContract":
        """Return the contract with a probe, made with its weights; errors as `chunks`."""
        everywhere = replace(self, rates=(self._probe_rate(),))
        chunks = everywhere.chunks((probe_waveform(), SAMPLE_RATE), encoder, self._probe_rate())
        return replace(self, probe=Probe.of(chunks, self.encoder["n_layers"], self.model_input))

    def _probe_rate(self) -> Fraction:
        return self.settings.fps or min(self.rates, default=Fraction(25))

    def differences(self, other: "AudioContract") -> list[str]:
        """Say, entry by entry, in what another contract differs: "chunks.fps: 25 here, 30 there"; [] if in nothing."""
        return differing(self._facts(), other._facts(), "here", "there")

    def check(self, chunk_function: Callable[[str], Any]) -> ProbeCheck:
        """Run anybody's audio-to-chunks function on the probe and say what differs, and in which step.

        Parameters
        ----------
        chunk_function : callable
            Takes the path of a wav (16 kHz, mono, 16 bit) and returns a chunk for each frame as the model sees it, at
            the probe's frame rate: an array, tensor, list or generator as for `trace_rows`.

        Returns
        -------
        ProbeCheck
            With `ok`, and `faults`: pairs of a step (decode, mel, norm, rows, edges, encoding, encoder; "rows or
            decode" where chunks cannot tell which) and a sentence.

        Raises
        ------
        ContractError
            If the contract has no probe.
        """
        if self.probe is None:
            raise ContractError("this contract has no probe: make it with store.contract(settings, encoder)")
        shape = self.encoder["n_layers"], self.encoder["width"]
        return check_probe(self.probe, chunk_function, shape, positions=self.positional_encoding)

    def _facts(self) -> dict[str, Any]:
        """Return all that decides what a chunk is, in plain values."""
        return {
            "features": self.spec.to_json(),
            "encoder": dict(self.encoder),
            "chunks": self.settings.to_json(),
            "rates": [str(rate) for rate in sorted(self.rates)],
            "positional_encoding": self.positional_encoding,
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write it as JSON, whole or not at all; OutputError if it cannot be written."""
        plain = {"version": VERSION, **self._facts(), "libraries": dict(self.libraries)}
        plain["probe"] = self.probe.to_json() if self.probe else None
        lines = (f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in plain.items())
        write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "AudioContract":
        """Read what `save` wrote.

        Raises
        ------
        ContractError
            If there is none, a field is unknown, missing or of another type, or a newer version wrote it.
        """
        try:
            plain = read_json(Path(path).read_bytes())
            found = plain.get("version") if isinstance(plain, dict) else None
            if isinstance(found, int) and found > VERSION:  # before its fields are looked at
                raise ValueError(f"it has version {found}, this musetools reads {VERSION}: update musetools")
            return cls._of(CONTRACT.check(plain))
        except (OSError, ValueError, TypeError) as error:
            raise ContractError(
                f"{path} is no contract that can be read: {error}. Copy it again, or make it with store.contract"
            ) from None

    @classmethod
    def _of(cls, plain: Mapping[str, Any]) -> "AudioContract":
        fps, context, edge = (plain["chunks"][name] for name in ("fps", "context", "edge"))
        settings = ChunkSettings(fps and Fraction(fps), context, edge)
        rates, positions = tuple(map(Fraction, plain["rates"])), plain["positional_encoding"]
        spec, encoder = FeatureSpec.from_json(plain["features"]), plain["encoder"]
        made = cls(spec, encoder, settings, rates, positions, plain["libraries"])
        if not plain["probe"] or plain["version"] < VERSION:  # the probe of version 1 was other audio
            return made
        rows = chunk_rows(PROBE_ROWS, made._probe_rate(), settings.context, edge=made.edge)
        probe = Probe.from_json(plain["probe"], made._probe_rate(), rows, encoder["n_layers"], encoder["width"])
        return replace(made, probe=probe)

    def __repr__(self) -> str:
        weights, positions = self.encoder, "with" if self.positional_encoding else "without"
        lines = [
            f"AudioContract: {self.settings}, {positions} positional encoding",
            f"features: {self.spec}",
            f"encoder: {weights['name']} {weights['fingerprint'][:12]}, {weights['n_layers']} layers of "
            f"{weights['width']}, {weights['dtype']}",
            f"frame rates seen: {', '.join(f'{float(rate):.6g}' for rate in sorted(self.rates)) or 'none known'}",
            f"probe: {self.probe or 'none'}",
            f"made with {', '.join(f'{name} {number}' for name, number in self.libraries.items())}",
        ]
        return "\n".join(lines)


def checked_contract(contract: AudioContract) -> AudioContract:
    """Return a contract; ParameterError if it is none, but the path of one, say."""
    if not isinstance(contract, AudioContract):
        raise ParameterError(f"a contract is needed; got {contract!r:.60}. Load it: musetools.AudioContract.load")
    return contract
