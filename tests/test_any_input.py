"""Whatever the data: finite predictions inside the scale, or an error of our own.

``HYPOTHESIS_PROFILE=long`` tries 20,000 data sets and 4,000 lists of texts instead of 300 and 50;
``LLMTOKENS_CASES=n`` and ``LLMTOKENS_SEED=n`` run a part of that.
"""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS
from hypothesis import HealthCheck, Phase, event, given, seed, settings
from hypothesis import strategies as st
from surprise import Dataset, Reader

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
from llmtokens.errors import DataError, LLMTokensError

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
CASES = int(os.environ.get("LLMTOKENS_CASES", 20_000 if LONG else 300))
SEED = int(os.environ.get("LLMTOKENS_SEED", 0))
any_case = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
seeded = seed(SEED) if LONG else lambda test: test

PICKS = sorted(ALGORITHMS)
SCALES = [
    (1, 5), (0.5, 5), (-10, 10), (0, 1), (0, 100), (3, 3), (-1e30, 1e30), (-5, -1), (0, 0),
    (2.0**24, 2.0**24 + 2), (1.0, float(np.nextafter(np.float32(1), np.float32(2)))),
    (0.0, 1e-38), (0.0, 5e-324), (-3.4e38, 3.4e38),
]  # fmt: skip
FLOAT32 = [float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny), 1e-45, 16777217.0]

strange_texts = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(), max_size=8),  # halves of surrogate pairs as well
    st.text("🎬🍿👨‍👩‍👧🇫🇷\u202e\u200f\u0000\x07\x1b\n\r\x85\u2028\ufeff", max_size=20),
    st.text("ابتثجحخדהוזחט ,.()", max_size=20),
)
raw_ids = st.one_of(
    st.integers(-5, 5),
    st.sampled_from(["1", 1, 1.5, True, "True", "é", "e\u0301", "🎬", "", " ", "\x00", "UKN__1"]),
    st.text(max_size=4),
    strange_texts,
    st.floats(allow_nan=False),
    st.integers(-(2**80), 2**80),
    st.tuples(st.integers(0, 2), st.text(max_size=1)),
    st.binary(max_size=3),
)


def _equal_as_keys(raw):
    return hash(raw), str(raw) if isinstance(raw, str) else raw


ids = st.lists(raw_ids, min_size=1, max_size=6, unique_by=_equal_as_keys)


@st.composite
def tables(draw):
    """Ratings of any shape, mostly inside their scale, and the scale."""
    low, high = draw(st.sampled_from(SCALES))
    value = st.one_of(
        st.floats(low, high), st.sampled_from([float(low), float(high), (low + high) / 2])
    )
    match draw(st.integers(0, 11)):
        case 0:
            value = st.one_of(value, st.floats())
        case 1:
            value = st.one_of(value, st.sampled_from([s * x for x in FLOAT32 for s in (1, -1)]))
        case 2:
            value = st.just(draw(value))
    users, items = draw(ids), draw(st.lists(raw_ids, min_size=1, max_size=8, unique_by=str))
    shape = draw(
        st.sampled_from(["any"] * 4 + ["one user", "one item", "isolated", "twice", "one rating"])
    )
    event(shape)
    if shape == "one user":
        users = users[:1]
    if shape in ("one item", "one rating"):
        items = items[:1]
    if shape == "isolated":
        pairs = list(zip(users, items, strict=False))
    else:
        pair = st.tuples(st.sampled_from(users), st.sampled_from(items))
        most = 1 if shape == "one rating" else 40
        pairs = draw(st.lists(pair, min_size=1, max_size=most))
    if shape == "twice":
        pairs += pairs
    return [(u, i, draw(value)) for u, i in pairs], (low, high), users, items


@st.composite
def token_tables(draw, own):
    """Tokens for some of the ids and some others, the vectors of any size."""
    some = st.lists(st.sampled_from(own), unique_by=_equal_as_keys)
    known = list(dict.fromkeys([*draw(st.one_of(st.just(own), some)), "other", "another"]))
    n, dims = len(known), draw(st.integers(1, 6))
    size = draw(st.sampled_from([0.0, 1e-45, 1e-30, 1e-6, 1.0, 1e6, 1e30, 3e38, 1e300]))
    vectors = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(n, dims)) * size
    if draw(st.booleans()):
        vectors[draw(st.integers(0, n - 1))] *= draw(st.sampled_from([0.0, 1e-6, 1e8]))
    return LLMTokens.from_embeddings(
        known, vectors, whiten=draw(st.sampled_from([0.0, 0.0, 0.5, 1.0]))
    )


CHANGES = {
    "LLMTokensSVD": {
        "dtype": st.sampled_from(["float32", "float64"]),
        "biased": st.booleans(),
        "n_factors": st.sampled_from([1, 3, 40]),
        "n_epochs": st.sampled_from([0, 1, 5]),
        "lr_all": st.sampled_from([0.0, 0.005, 0.5, 1e6]),
        "anchor": st.sampled_from([0.0, 1.0]),
        "shuffle": st.booleans(),
    },
    "LLMTokensBPMF": {
        "n_factors": st.sampled_from([1, 4]),
        "n_content": st.sampled_from([0, 1, 16]),
        "n_samples": st.sampled_from([1, 3, 12]),
        "burn_in": st.sampled_from([0, 8]),
    },
    "LLMTokensEASE": {
        "l2": st.sampled_from([None, 0.0, 1e-12, 50.0, 1e12]),
        "token_weight": st.sampled_from([None, 0.0, 30.0]),
        "implicit": st.booleans(),
        "max_dense": st.sampled_from([1, 10_000]),
    },
    "LLMTokensContent": {"method": st.sampled_from(["ridge", "cosine"])},
}


def trainset_of(rows, scale):
    users, items, values = zip(*rows, strict=True)
    columns = {"user": users, "item": items, "rating": values}
    frame = pd.DataFrame({k: pd.Series(list(v), dtype=object) for k, v in columns.items()})
    return Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()


def holds(algo, rows, scale, users, items):
    """Fit and ask for everything; the predictions, finite and inside the scale."""
    algo.fit(trainset_of(rows, scale))
    pairs = [(u, i, None) for u in [*users, "nobody"] for i in [*items, "other", "nothing"]]
    found = algo.test(pairs)
    for prediction in found:
        assert math.isfinite(prediction.est)
        assert scale[0] <= prediction.est <= scale[1]
        assert all(math.isfinite(x) for x in prediction.details.values() if type(x) is float)
    return pairs, found


@pytest.mark.slow
@given(data=st.data())
@seeded
@any_case
def test_predictions_are_finite_and_inside_the_scale_or_the_error_is_ours(data):
    rows, scale, users, items = data.draw(tables())
    name = data.draw(st.sampled_from(PICKS))
    cls, parameters = ALGORITHMS[name]
    changes = CHANGES[cls.__name__]
    parameters = dict(parameters)
    for parameter in data.draw(st.lists(st.sampled_from(sorted(changes)), max_size=3, unique=True)):
        parameters[parameter] = data.draw(changes[parameter])
    event(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for side, own in (("user_tokens", users), ("item_tokens", items)):
                if side in parameters:
                    parameters[side] = data.draw(token_tables(own))
            algo = cls(**parameters)
            pairs, found = holds(algo, rows, scale, users, items)
            algo.recommend_all(n=3)
            algo.explain(users[0], items[0])
        except LLMTokensError as error:
            event(f"{type(error).__name__}: {str(error)[:30]}")
            return
        event("predicted")
        if data.draw(st.integers(0, 3)) == 0:
            saved_and_loaded(algo, pairs, found)


def saved_and_loaded(algo, pairs, found):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        try:
            algo.save(path)
        except DataError:
            assert not os.listdir(folder)
            return
        assert llmtokens.load(path).test(pairs) == found


long_texts = st.builds(
    lambda t, n: (t * n)[:100_000],
    st.one_of(strange_texts, st.text(min_size=1, max_size=5)),
    st.sampled_from([*[1] * 4, *[3] * 4, 20_000, 100_000]),  # the long ones cost a second each
)
WITH_ITEM_TEXTS = [name for name in PICKS if "item_tokens" in ALGORITHMS[name][1]]


@pytest.mark.slow
@given(written=st.lists(long_texts, min_size=2, max_size=6), data=st.data())
@seeded
@settings(any_case, max_examples=max(CASES // 10, 50))
def test_any_text_becomes_a_finite_token_or_an_error_of_ours(written, data):
    n = len(written)
    frame = pd.DataFrame({
        "item": range(n), "title": pd.Series(written, dtype=object),
        "kinds": pd.Series(
            data.draw(st.lists(strange_texts, min_size=n, max_size=n)), dtype=object),
        "year": data.draw(st.lists(
            st.one_of(st.floats(width=32), st.just(math.nan)), min_size=n, max_size=n)),
    })  # fmt: skip
    more = data.draw(st.sampled_from([{}, {}, {"categorical": ["kinds"]}, {"numeric": ["year"]}]))
    cls, parameters = ALGORITHMS[data.draw(st.sampled_from(WITH_ITEM_TEXTS))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tokens = LLMTokens.from_frame(frame, "{title}", encoder=HashingEncoder(64), **more)
        except LLMTokensError:
            return
        assert np.isfinite(tokens.vectors).all()
        assert np.isfinite(tokens.transform(frame)).all()
        rows = [(u, i, float(1 + (u + i) % 5)) for u in range(4) for i in range(n)]
        none = {"user_tokens": None} if "user_tokens" in parameters else {}
        algo = cls(**(parameters | none | {"item_tokens": tokens}))
        try:
            holds(algo, rows, (1, 5), list(range(4)), list(range(n)))
        except LLMTokensError:
            return
        if written[0].strip():
            assert np.isfinite(algo.ask(written[0], n=2)["score"]).all()


# -- found by the long profile, or on the way to it ----------------------------------------------

HALF = "\ud800"  # half of a surrogate pair: a Python str that no string type of pandas holds


@pytest.mark.parametrize("raw", [HALF, b"\x80", (1, "a"), True, 2**80, "\x00"])
def test_ids_of_any_type_are_recommended_explained_and_compared(raw):
    from surprise.model_selection import KFold

    from llmtokens.compare import compare

    rows = [(raw, raw, 1.0), (raw, "b", 4.0), ("c", raw, 2.0), ("c", "b", 5.0)]
    tokens = LLMTokens.from_embeddings([raw, "b", "d"], np.eye(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        algo = LLMTokensSVD(tokens, n_factors=2, n_epochs=1, random_state=0)
        algo.fit(trainset_of(rows, (1, 5)))
        assert raw in algo.recommend_all(n=3)["user"].tolist()
        assert algo.recommend("nobody", n=3)["item"].tolist().count(raw) == 1
        explained = algo.explain(raw, raw)
        assert set(explained.rated["item"]) == {raw, "b"}
        assert str(raw) in explained.sentence
        named = zip("uir", zip(*rows, strict=True), strict=True)
        columns = {k: pd.Series(list(v), dtype=object) for k, v in named}
        data = Dataset.load_from_df(pd.DataFrame(columns), Reader(rating_scale=(1, 5)))
        result = compare({"a": LLMTokensSVD(n_factors=1)}, data, {"s": KFold(2, random_state=0)},
                         keep_predictions=True, progress=False)  # fmt: skip
    assert set(result.predictions["user"]) == {raw, "c"}


def test_titles_with_half_of_an_emoji_are_shown():
    frame = pd.DataFrame({"item": [1, 2], "title": pd.Series([f"cut {HALF}", "b"], dtype=object)})
    tokens = LLMTokens.from_frame(frame, "{title}", encoder=HashingEncoder(16))
    algo = LLMTokensSVD(tokens, n_factors=2, n_epochs=1)
    algo.fit(trainset_of([(1, 1, 3.0), (1, 2, 4.0)], (1, 5)))
    assert f"cut {HALF}" in algo.recommend(9)["label"].tolist()
    assert f"cut {HALF}" in algo.explain(1, 1).rated["label"].tolist()


def test_embeddings_too_large_for_a_file_are_refused_at_once():
    with pytest.raises(DataError, match="beyond 1e[+]60 in 2 rows"):
        LLMTokens.from_embeddings([0, 1, 2], [[2.1e299], [0.0], [-np.inf]])
    algo = LLMTokensSVD(LLMTokens.from_embeddings([0, 1], [[1e60], [-1e59]]), n_epochs=1)
    algo.fit(trainset_of([(0, 0, 1.0), (1, 1, 4.0)], (1, 5)))
    saved_and_loaded(algo, [(0, 1, 3.0)], algo.test([(0, 1, 3.0)]))


def test_an_explanation_stands_ratings_so_large_that_one_is_lost_in_rounding():
    rows = [(0, 0, 0.0), (1, 1, 2.3283064365370193e20)]
    tokens = LLMTokens.from_embeddings([0, "other", "another"], np.zeros((3, 1)))
    cls, parameters = ALGORITHMS["LLMTokensSVD"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        algo = cls(**(parameters | {"item_tokens": tokens}))
        holds(algo, rows, (-1e30, 1e30), [0, 1], [0, 1])
        assert np.isfinite(algo.explain(0, 0).rated["influence"]).all()


def test_a_user_or_an_item_may_be_a_pair_where_others_are_numbers():
    algo = ALGORITHMS["LLMTokensBPMF, no tokens"][0](n_samples=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        algo.fit(trainset_of([(0, 0, 1.0)], (1, 5)))
    assert "(0, '')" in algo.explain((0, ""), (0, "")).sentence
    assert algo.explain(0, (0, "")).est == algo.predict(0, (0, "")).est
