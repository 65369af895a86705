"""The published pipelines as data: how each makes features, which rows each frame takes, and on what input it stops."""

from dataclasses import replace
from functools import partial

from musetools.features.spec import EncoderWindow, FeatureSpec
from musetools.recipes import rows as cuts
from musetools.recipes.recipe import Recipe, register

__all__: list[str] = []

_V1, _V15 = FeatureSpec.named("musetalk-v1"), FeatureSpec.named("musetalk-v1.5")
_MUSETALK = "TMElyralab/MuseTalk "
for _recipe in (
    Recipe(
        "musetools",
        features=FeatureSpec.named("musetools"),
        cut=cuts.canonical,
        positional_encoding=False,
        source="musetools/chunks/rows.py",
        version="0.1",
        note="Exact fps, context that does not depend on fps, one chunk for every whole frame, edges clamped. "
        "Stops where there is a frame but no feature row.",
    ),
    Recipe(
        "musetalk-v1-train",
        features=_V1,
        cut=cuts.v1_files,
        positional_encoding=True,
        source=_MUSETALK + "train_codes branch: scripts/data.py, train_codes/DataLoader.py",
        version="1.0, August 2024",
        note="One file of two rows a frame, k.npy = rows 2k and 2k+1, whatever the fps; a frame whose "
        "neighbour is missing is dropped. No input stops it: a clip too short leaves no frame.",
    ),
    Recipe(
        "musetalk-v1-infer",
        features=_V1,
        cut=cuts.v1,
        positional_encoding=True,
        source=_MUSETALK + "musetalk/whisper/audio2feature.py",
        version="1.0, April 2024",
        note="Edges clamped; the end is tested after a chunk is appended, so there are two too many at 25 fps. "
        "Stops on audio without a feature row.",
    ),
    Recipe(
        "musetalk-v1.5-train",
        features=FeatureSpec(decoder="ffmpeg", keep_padding=True),
        cut=cuts.v15_loader,
        positional_encoding=False,
        source=_MUSETALK + "musetalk/data/dataset.py, process_audio_features in musetalk/utils/utils.py",
        version="1.5, September 2025",
        note="Two rows a frame, whatever the fps, in a 30 s window that starts at 0 or, for frames from 700 of "
        "a block on, at 4 s: frames from 750 on get the audio of the first 30 s. Zeros before row 0; past "
        "the end of the audio, what the encoder makes of silence. The matrix takes every frame for the "
        "first of its sample.",
    ),
    Recipe(
        "musetalk-v1.5-infer",
        features=_V15,
        cut=cuts.v15,
        positional_encoding=True,
        source=_MUSETALK + "musetalk/utils/audio_processor.py",
        version="1.5, March 2025",
        note="Counts in int(fps) and in floats, pads by ceil(50 / int(fps)) zero rows a frame of context. "
        "Stops the process at 50 fps and above, on audio of 40 to 60 ms, and on audio without a frame.",
    ),
    Recipe(
        "livetalking",
        features=FeatureSpec(decoder="ffmpeg", window=EncoderWindow(0.2, 0.64, 0.2, 30)),
        cut=partial(cuts.livetalking, centred=True),
        positional_encoding=True,
        source="lipku/LiveTalking avatars/audio_features/whisper.py, base_asr.py",
        version="August 2026, context [2, 3]",
        note="A buffer of 10 + 2·16 + 10 PCM blocks slides by 16 frames, two rows a frame whatever the fps; 20 "
        "ms blocks at 25 fps alone. Stops where fps is no int. The published code cuts a chunk out of one "
        "buffer; features here keep each row from the buffer whose middle it lies in, so chunks at a "
        "step's end hold rows of two passes. Above 25 fps its buffer is shorter than what it takes: at 30 fps a tenth "
        "of the rows, at 50 more than half, are the encoder's output for padding there; the matrix names the rows of "
        "the clip that would stand in their place.",
    ),
    Recipe(
        "livetalking-0-5",
        features=FeatureSpec(decoder="ffmpeg", window=EncoderWindow(0.2, 0.64, 0.2, 30)),
        cut=partial(cuts.livetalking, centred=False),
        positional_encoding=True,
        source="lipku/LiveTalking avatars/audio_features/whisper.py, base_asr.py",
        version="November 2025 to August 2026, context [0, 5]",
        note="As livetalking, but all ten rows lie ahead: 80 ms in the future at 25 fps.",
    ),
    Recipe(
        "latentsync",
        features=_V1,
        cut=cuts.v1,
        positional_encoding=False,
        source="bytedance/LatentSync latentsync/whisper/audio2feature.py",
        version="1.6, June 2025",
        note="As musetalk-v1-infer; its pipelines convert every video to 25 fps first and call it at 25.",
    ),
    Recipe(
        "openavatarchat",
        features=replace(_V15, window=EncoderWindow(0, 1, 0, 30), keep_padding=True),
        cut=cuts.openavatarchat,
        positional_encoding=True,
        source="HumanAIGC-Engineering/OpenAvatarChat src/handlers/avatar/musetalk/avatar_musetalk_processor.py",
        version="November 2025",
        note="Every second, padded to a whole one, is a clip of its own to musetalk-v1.5-infer: zeros at every "
        "boundary. Frames are counted at 24 kHz, rounded up in each second. Stops where "
        "musetalk-v1.5-infer does.",
    ),
    Recipe(
        "musetalkplus-train",
        features=_V1,
        cut=cuts.plus_files,
        positional_encoding=True,
        source="IronSpiderMan/MuseTalkPlus musetalk/datasets.py, musetalk/audio/audio_feature_extract.py",
        version="September 2024",
        note="Loads frames i-2 … i+1 and leaves the place of i+2 zero, though its inference fills it; never "
        "loads a clip's last file. Whatever the fps. Stops where left and right context differ.",
    ),
):
    register(_recipe)
