"""Whatever the data: finite predictions inside the scale, or an error of our own.

``HYPOTHESIS_PROFILE=long`` tries 20,000 cases instead of 500.
"""

from __future__ import annotations

import math
import os
import warnings

import numpy as np
from algorithms import ALGORITHMS, full
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
from llmtokens.errors import LLMTokensError, LLMTokensWarning

CASES = {"ci": 500, "long": 20_000}[os.environ.get("HYPOTHESIS_PROFILE", "ci")]
any_case = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=CASES == 500,
    suppress_health_check=list(HealthCheck),
)

raw_ids = st.one_of(st.integers(-5, 5), st.text(max_size=4), st.sampled_from(["1", 1, "é", "🎬"]))
scales = st.sampled_from([(1, 5), (0.5, 5), (-10, 10), (0, 1), (0, 100), (3, 3), (-1e30, 1e30)])
PICKS = sorted(ALGORITHMS)


@st.composite
def tables(draw):
    """Ratings of any shape, mostly inside their scale, and the scale."""
    low, high = draw(scales)
    value = st.one_of(
        st.floats(low, high), st.sampled_from([float(low), float(high), (low + high) / 2])
    )
    if draw(st.integers(0, 9)) == 0:
        value = st.one_of(value, st.floats())
    users = draw(st.lists(raw_ids, min_size=1, max_size=6, unique_by=str))
    items = draw(st.lists(raw_ids, min_size=1, max_size=8, unique_by=str))
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(users), st.sampled_from(items), value),
            min_size=1,
            max_size=40,
        )
    )
    return rows, (low, high), users, items


@st.composite
def token_tables(draw, ids):
    """Tokens for some of the ids and some others, the vectors of any size."""
    own = draw(st.lists(st.sampled_from(ids), unique_by=str))
    ids = list(dict.fromkeys([*own, "other", "another"]))
    dims = draw(st.integers(1, 6))
    seed = draw(st.integers(0, 99))
    size = draw(st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 1e6, 1e30]))
    return LLMTokens.from_embeddings(
        ids, np.random.default_rng(seed).normal(size=(len(ids), dims)) * size
    )


@given(data=st.data())
@any_case
def test_predictions_are_finite_and_inside_the_scale_or_the_error_is_ours(data):
    rows, scale, users, items = data.draw(tables())
    cls, parameters = ALGORITHMS[data.draw(st.sampled_from(PICKS))]
    parameters = dict(parameters)
    for side, ids in (("user_tokens", users), ("item_tokens", items)):
        if side in parameters:
            parameters[side] = data.draw(token_tables(ids))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LLMTokensWarning)
        try:
            algo = cls(**parameters).fit(full(rows, scale))
            pairs = [(u, i, None) for u in [*users, "nobody"] for i in [*items, "other", "nothing"]]
            found = algo.test(pairs)
        except LLMTokensError:
            return
    for prediction in found:
        assert math.isfinite(prediction.est)
        assert scale[0] <= prediction.est <= scale[1]


texts = st.one_of(
    st.text(max_size=30),
    st.text("🎬🍿\u202e\u0000\x07اب", max_size=20),
    st.builds(lambda t, n: t * n, st.text(min_size=1, max_size=5), st.sampled_from([1, 20_000])),
)


@given(written=st.lists(texts, min_size=2, max_size=6))
@settings(any_case, max_examples=max(CASES // 5, 100))
def test_any_text_becomes_a_finite_token_or_an_error_of_ours(written):
    try:
        tokens = LLMTokens.from_texts(range(len(written)), written, encoder=HashingEncoder(64))
    except LLMTokensError:
        return
    assert np.isfinite(tokens.vectors).all()
    rows = [(u, i, float(1 + (u + i) % 5)) for u in range(4) for i in range(len(written))]
    algo = LLMTokensSVD(item_tokens=tokens, n_epochs=2, n_factors=4).fit(full(rows))
    assert all(math.isfinite(p.est) for p in algo.test(rows))
