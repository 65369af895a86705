"""Comparisons: counts and values against loops, the categories that FACTS gives, sentences that agree."""

import dataclasses
import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from oracles import SPEECH, speech
from pipelines import PIPELINES

from musetools import RECIPES, EncoderWindow, ParameterError, RecipeError, audio2feat, traced_recipe
from musetools.features.extract import FeatureRows
from musetools.lab.difference import (
    compare,
    compare_all,
    edge_figure,
    evaluate,
    frame_figure,
    lag_table,
    measure,
    rate_table,
)
from musetools.table import Table, spans

NAMES = list(PIPELINES)
RATE = 16_000
V1, V15 = ("musetalk-v1-train", "musetalk-v1-infer"), ("musetalk-v1.5-train", "musetalk-v1.5-infer")


def clip(seconds: float) -> tuple[np.ndarray, int]:
    return speech(int(seconds * RATE)), RATE


# --- categories


@pytest.mark.parametrize(
    ("a", "b", "category"),
    [
        (*V1, "alike but for edges"),
        ("musetalk-v1-infer", "latentsync", "same rows, other values"),  # which adds no positions
        ("musetools", "livetalking-0-5", "other rows"),
        ("musetools", "musetalk-v1-infer", "same rows, other values"),
        ("musetools", "musetalkplus-train", "other rows"),
        (*V15, "other rows"),  # over a minute: frames from 750 on get the wrong audio
    ],
)
def test_categories_over_a_minute(a, b, category):
    assert compare(a, b).category == compare(b, a).category == category


def test_v15_trains_and_infers_on_the_same_rows_inside_a_short_clip(small):
    """Under 28 s at 25 fps, and bit for bit where no decoder resamples; only positions and the right edge differ."""
    found = compare(*V15, clip(12.05), encoder=small)
    inside = found.interior()
    assert found.shared[inside].tolist() == list(range(2, 299))
    assert not found.rows_differ()[inside].any()
    assert found.values.equal.tolist() == list(range(299))  # with the two that start with the same zeros
    assert found.shared[found.rows_differ() > 0].tolist() == [299, 300]
    assert found.category == "same rows, other values"  # for the positions


def test_the_decoder_alone_makes_other_values(small):
    found = compare(*V15, SPEECH, encoder=small)
    assert len(found.values.equal) == 0
    assert 0 < found.values.by_layer(np.flatnonzero(found.interior())).max() < 0.05


@pytest.mark.parametrize("seconds", [0.04, 0.17])
def test_a_clip_that_only_one_can_chunk_is_not_interchangeable(seconds, small):
    """Training drops every frame of so short a clip; what it leaves out is a difference."""
    found = compare(*V1, clip(seconds), encoder=small)
    assert len(found.a.rows) == len(found.shared) == 0 < len(found.b.rows)
    assert found.category != "interchangeable"
    assert "interchangeable" not in repr(found)


def test_what_stops_is_named(small):
    for source in (None, clip(1)):
        found = compare("musetools", "musetalk-v1.5-infer", source, fps=50, encoder=small)
        assert found.category == "stops"
        assert found.values is None
        sentences = found.sentences()
        assert len(sentences) == 1
        assert sentences[0].startswith("musetalk-v1.5-infer cannot do this: musetalk-v1.5-infer stops on ")
        assert "stops" in found._repr_html_()
    assert len(compare("openavatarchat", "musetalk-v1.5-infer", fps=60).sentences()) == 2


# --- counts


def whole(chunks: dict[int, list[int]]) -> set[int]:
    """Frames at no edge: no row twice, and no more zeros than a recipe has in every chunk."""
    fewest = min(rows.count(-1) for rows in chunks.values())
    inside = {frame: rows for frame, rows in chunks.items() if rows.count(-1) == fewest}
    return {frame for frame, rows in inside.items() if all(b == a + 1 for a, b in pairwise(rows) if min(a, b) >= 0)}


@pytest.mark.parametrize(
    ("pair", "fps"),
    [
        (V15, 25),
        (V1, 29.97),
        (("musetools", "livetalking-0-5"), 24),
        (("openavatarchat", "musetalkplus-train"), 30),
        (("livetalking", "musetalk-v1.5-infer"), 49),
    ],
)
def test_counts_equal_those_of_a_loop(pair, fps):
    found = compare(*pair, fps=fps)
    a, b = (dict(zip(side.frames, side.rows.tolist(), strict=True)) for side in (found.a, found.b))
    shared, inside = sorted(a.keys() & b.keys()), whole(a) & whole(b)
    assert found.shared.tolist() == shared
    assert found.rows_differ().tolist() == [sum(x != y for x, y in zip(a[i], b[i], strict=True)) for i in shared]
    assert found.interior().tolist() == [i in inside for i in shared]
    for side, chunks in ((found.a, a), (found.b, b)):
        assert side.zero_rows == sum(row == -1 for rows in chunks.values() for row in rows)
        assert side.edge_frames == len(chunks) - len(whole(chunks))


def test_spec_differences_are_those_of_the_fields():
    found = {name: values for name, *values in compare("musetools", "musetalk-v1-infer").spec_differences}
    assert found == {
        "decoder": ["timeline", "ffmpeg"],
        "mel_peak": ["window", "file"],
        "padding": ["audio", "mel"],
        "final_norm": ["True", "False"],
        "positional encoding": ["not added", "added"],
    }
    found = compare("musetools", "livetalking").spec_differences
    assert found[1] == ("window", str(EncoderWindow()), str(EncoderWindow(0.2, 0.64, 0.2, 30)))
    assert compare(*V1).spec_differences == ()


def test_rows_past_the_end_are_no_other_way_of_making_features():
    ours = RECIPES["musetools"]
    padded = dataclasses.replace(ours, features=dataclasses.replace(ours.features, keep_padding=True))
    found = compare(ours, padded)
    assert found.spec_differences == (("keep_padding", "False", "True"),)
    assert (found.made_differently, found.category) == ([], "alike but for edges")


@pytest.mark.parametrize(
    ("a", "b", "fps", "message"),
    [
        ("musetools", "nobody", 25, "no recipe .*musetalk-v1-train"),
        (None, "musetools", 25, "no recipe .*musetalk-v1-train"),
        ("musetools", "latentsync", 0, "fps"),
        ("musetools", "latentsync", "25", "fps"),
    ],
)
def test_what_cannot_be_compared(a, b, fps, message):
    with pytest.raises(ParameterError, match=message):
        compare(a, b, fps=fps)


# --- values


def by_frame(name: str, n_samples: int, fps: float) -> dict[int, list[int]]:
    first, chunks = PIPELINES[name](n_samples, fps, (2, 2))
    return dict(enumerate(chunks, start=first))


def chunk_by_hand(features: np.ndarray, rows: list[int]) -> np.ndarray:
    """(rows, layers, width), zeros for -1."""
    return np.stack([np.zeros_like(features[0]) if row == -1 else features[row] for row in rows]).astype(float)


@pytest.mark.parametrize(
    ("a", "b", "fps"),
    [
        (*V15, 25),
        ("musetools", "musetalk-v1-infer", 24),
        (*V1, 25),
        ("musetools", "openavatarchat", 29.97),
        ("livetalking", "musetalkplus-train", 25),
    ],
)
def test_values_equal_those_of_a_loop(a, b, fps, small):
    source = clip(2.5)
    found = compare(a, b, source, fps=fps, encoder=small).values
    features = [audio2feat(source, small, spec=RECIPES[name].features) for name in (a, b)]
    rows = [by_frame(name, len(source[0]), fps) for name in (a, b)]
    spread = [features[0][:, layer].astype(float).std() for layer in range(2)]
    assert found.frames.tolist() == sorted(rows[0].keys() & rows[1].keys())
    for line, frame in enumerate(found.frames.tolist()):
        gap = chunk_by_hand(features[0], rows[0][frame]) - chunk_by_hand(features[1], rows[1][frame])
        expected = [np.sqrt((gap[:, layer] ** 2).mean()) / spread[layer] for layer in range(2)]
        np.testing.assert_allclose(found.relative[line], expected, rtol=1e-6)
        assert (frame in found.equal) == (not gap.any())
    some = np.array([0, 3, 4])
    expected = [np.sqrt(np.mean(found.relative[some, layer] ** 2)) for layer in range(2)]
    np.testing.assert_allclose(found.by_layer(some), expected)
    assert found.weights == "small"


@pytest.mark.parametrize("a", NAMES)
@pytest.mark.parametrize("seconds", [0.3, 30])
def test_any_recipe_takes_any_clip(a, seconds, small):
    """Shorter than a batch of LiveTalking, or ending with a window's last row."""
    if seconds == 30 and RECIPES[a].features.window.hop_s < 2:
        seconds = 3  # 30 s are many of its windows
    found = compare(a, "musetools", clip(seconds), encoder=small)
    assert found.values is not None or found.category == "stops"
    assert repr(found)


def test_decoders_that_differ_by_a_sample(small):
    """Of this length, swresample makes 19 199 samples and soxr 19 200: 59 rows and 60."""
    pcm = soundfile.read(SPEECH, dtype="float32")[0].T[:, :52_918]
    found = compare("musetalk-v1.5-infer", "musetools", (pcm, 44_100), encoder=small)
    assert (len(found.a.rows), len(found.b.rows)) == (30, 29)
    found = compare("musetools", "musetalk-v1.5-infer", (pcm, 44_100), encoder=small)
    assert (len(found.a.rows), len(found.b.rows)) == (29, 30)


def test_the_answer_s_chunks_are_those_that_are_compared(small, tmp_path):
    """Each decoder's samples count, where they are one more than another's."""
    pcm = soundfile.read(SPEECH, dtype="float32")[0][:52_918]
    soundfile.write(tmp_path / "clip.wav", pcm, 44_100)
    answer = evaluate(tmp_path / "clip.wav", "musetalk-v1.5-infer", "musetools", small, folder=tmp_path)
    for side in (answer.compared.a, answer.compared.b):
        np.testing.assert_array_equal(answer.chunks[side.recipe.name].rows, side.rows)
    assert len(answer.chunks["musetalk-v1.5-infer"]) == len(answer.chunks["musetools"]) + 1


def test_an_open_file_is_a_source(small):
    with open(SPEECH, "rb") as file:
        found = compare("musetools", "musetalk-v1-infer", file, encoder=small)
    expected = compare("musetools", "musetalk-v1-infer", SPEECH, encoder=small)
    np.testing.assert_array_equal(found.values.relative, expected.values.relative)


@pytest.fixture
def made(monkeypatch) -> list[tuple]:
    """What features were made of."""
    calls = []
    monkeypatch.setattr(measure, "FeatureRows", lambda *given: calls.append(given) or FeatureRows(*given))
    return calls


@pytest.mark.parametrize(("train", "infer", "n_specs"), [(*V15, 3), ("musetools", "latentsync", 2)])
def test_the_answer_makes_features_once_for_each_spec(train, infer, n_specs, small, made, tmp_path):
    answer = evaluate(SPEECH, train, infer, small, fps=29.97, folder=tmp_path)
    assert len(made) == n_specs
    alone = compare(train, infer, SPEECH, fps=29.97, encoder=small)
    assert answer.sentences() == answer.comparisons[3].sentences() == alone.sentences()
    np.testing.assert_array_equal(answer.compared.values.relative, alone.values.relative)
    np.testing.assert_array_equal(np.load(tmp_path / "clip.npy"), answer.rows_of(train))
    for name, recipe in answer.recipes.items():
        expected = recipe.chunks(audio2feat(SPEECH, small, spec=recipe.features), len(answer.waveform), 29.97)
        np.testing.assert_array_equal(answer.model_inputs(95)[name], recipe.model_input(expected, 95))


# --- sentences


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"(?<![\w.…–−-])\d+(?![\w.]\d)", text)]


@pytest.mark.parametrize(("pair", "fps"), [(V15, 25), (V1, 24), (("musetools", "livetalking-0-5"), 24)])
def test_sentences_agree_with_the_object(pair, fps, small):
    found = compare(*pair, clip(4), fps=fps, encoder=small)
    sentences, differ, inside = found.sentences(), found.rows_differ() > 0, found.interior()
    counts = [len(differ), (~differ).sum(), (differ & ~inside).sum(), (differ & inside).sum()]
    assert numbers(sentences[0]) == counts
    for name, mine, other in ((pair[0], found.a, found.b), (pair[1], found.b, found.a)):
        alone = [i for i in mine.frames if i not in other.frames]
        about = "".join(s for s in sentences if s.startswith(f"{name} alone has"))
        assert numbers(about)[:1] == ([len(alone)] if alone else [])
        assert not alone or spans(alone) in about
    assert any(f"{len(found.values.equal)} of {len(found.shared)} chunks" in s for s in sentences)
    assert found.category in sentences[-1]
    assert repr(found).splitlines() == [*sentences, *repr(found.table()).splitlines()]


def test_sentences_give_the_values(small):
    found = compare("musetools", "musetalk-v1-infer", clip(4), encoder=small)
    inside = found.values.by_layer(found.interior())
    sentence = next(s for s in found.sentences() if s.startswith("Inside the clip"))
    assert f"{inside.min():.2g} to {inside.max():.2g} standard deviations" in sentence
    assert f"most in layer {inside.argmax()} ({found.interior().sum()} frames)" in sentence
    equal = compare(*V1, clip(4), encoder=small).sentences()
    assert any("equal in every layer (96 frames)" in s for s in equal)


def test_spans():
    assert spans([7]) == "7"
    assert spans([0, 1, 299, 300]) == "0–1, 299–300"
    assert spans(range(0, 20, 2)) == "0, 2, 4, 6, 8, 10 and 4 more spans"


def test_html_is_escaped(small):
    bold = dataclasses.replace(RECIPES["musetools"], name="<b>bold</b> & co")
    shown = [
        compare(bold, "musetools", clip(1), encoder=small),
        compare(bold, "musetalk-v1.5-infer", fps=50),
        compare_all([bold, "musetools"]),
        lag_table((25,), [bold]),
        rate_table([compare(bold, "musetools")]),
        Table(["<b>"], [["<b>"]], "<b>"),
    ]
    for thing in shown:
        html = thing._repr_html_()
        assert "<b>" not in html
        assert html.count("<table>") == html.count("</table>") == 1
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; co" in shown[0]._repr_html_()


# --- tables


def test_a_table_of_rates(small):
    rates = (24, 25, 29.97, 50)
    many = [compare("musetools", "musetalk-v1.5-infer", clip(4), fps=fps, encoder=small) for fps in rates]
    table = rate_table(many)
    lines = dict(zip(rates, table.lines, strict=True))
    assert [line[0] for line in table.lines] == ["24", "25", "29.97", "50"]
    assert lines[50][1:] == ["–", "–", "0", "stops", "–", "stops"]
    for fps, found in zip(rates[:3], many, strict=False):
        shared, differing = len(found.shared), int((found.rows_differ() > 0).sum())
        assert lines[fps][1:3] == [str(shared), str(differing)]
        assert lines[fps][3:5] == [found.a.lag_text(), found.b.lag_text()]
        assert lines[fps][6] == found.category


def test_a_table_of_rates_claims_no_difference_where_it_saw_none(small):
    """Three frames, all at an edge: there is no inside to differ or to agree in."""
    found = compare("musetools", "musetalk-v1-infer", clip(0.12), encoder=small)
    assert not found.interior().any()
    assert rate_table([found]).lines[0][5] == "–"


def test_rates_may_be_fractions():
    """`compare` says so; Python 3.11 cannot format a Fraction as a float."""
    fps = Fraction(30_000, 1001)
    found = compare("musetools", "musetalk-v1-infer", fps=fps)
    assert rate_table([found]).lines[0][0] == "29.97"
    assert "29.97" in repr(lag_table((fps,), ["musetools"]))
    assert "29.97" in repr(compare_all(["musetools"], fps=fps))


def test_all_against_all():
    table = compare_all()
    assert [line[0] for line in table.lines] == [f"{i} {name}" for i, name in enumerate(RECIPES, start=1)]
    signs = np.array([line[1:] for line in table.lines])
    for i, a in enumerate(RECIPES):
        assert signs[i, i] == "●"
        column = list(RECIPES).index("latentsync")
        assert signs[i, column] == signs[column, i] == measure.SIGNS[compare("latentsync", a).category]
    assert (signs == signs.T).all()
    for sign in np.unique(signs):
        assert sign in table.caption


def test_some_against_each_other():
    table = compare_all((name for name in ("latentsync", "musetalk-v1.5-infer")), fps=50)
    assert [line[1:] for line in table.lines] == [["●", "–"], ["–", "–"]]


def late(features, fps):
    """Chunk one row late, as a slip of the pen would."""
    n = int(len(features) * fps / 50)
    rows = np.add.outer((np.arange(n) * 50 / fps).astype(int) - 3, np.arange(10)).clip(0, len(features) - 1)
    return features[rows].reshape(n, -1, features.shape[-1])


def test_an_own_chunker_stands_beside_the_two(small):
    own = traced_recipe(f"{__name__}:late", "musetalk-v1-infer")
    answer = evaluate(SPEECH, *V1, small, own=own)
    assert list(answer.sides) == ["musetalk-v1-train", "musetalk-v1-infer", own.name]
    plain, shifted = answer.chunks["musetalk-v1-infer"].rows, answer.chunks[own.name].rows
    np.testing.assert_array_equal(shifted[5:200], plain[5:200] + 1)
    np.testing.assert_array_equal(answer.chunks[own.name][9], late(answer.rows_of(own.name), 25)[9])
    assert {len(ax.patches) for ax in edge_figure(answer.sides).axes} == {5}  # every frame shown is framed
    assert frame_figure(answer.waveform, answer.sides, 9).axes[0].get_title("left").count("lag 0") == 2


def test_an_own_chunker_of_another_context_is_refused_by_name(small):
    own = traced_recipe(f"{__name__}:late", "musetalk-v1-infer")
    with pytest.raises(RecipeError, match=r"chunks of 10 rows, context \(1, 1\) asks for 6"):
        own.chunk_rows(16_000, 25, (1, 1))
    with pytest.raises(ParameterError, match="cannot be imported"):
        traced_recipe("no.such.module:f", "musetalk-v1-infer")


def test_a_rate_at_which_features_lack_rows_is_refused_by_the_recipe_s_name(small):
    """v1.5's loader takes its window from 4 s on for frames from 700 on, which reaches beyond a short clip's rows."""
    with pytest.raises(ParameterError, match=r"musetalk-v1.5-train at 75 fps takes rows up to 1503"):
        compare("musetalk-v1.5-train", "musetools", clip(12), fps=75, encoder=small)
