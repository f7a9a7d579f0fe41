"""Lengths and whitening of tokens as parameters that Surprise's searches choose."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from algorithms import DATA, TOKENS, USER_TOKENS
from surprise.model_selection import GridSearchCV, KFold

from llmtokens import HashingEncoder, LLMTokens, LLMTokensEASE, LLMTokensSVD
from llmtokens.errors import DataError

OPTIONS = {"text": "{title}", "categorical": "genres", "encoder": HashingEncoder(64)}


@pytest.mark.parametrize("made", [0.0, 0.5])
@pytest.mark.parametrize("wanted", [0.0, 0.5, 1.0])
def test_reduced_tokens_are_those_that_would_have_been_built(made, wanted, tmp_path):
    tokens = LLMTokens.from_frame(DATA.items, n_components=12, whiten=made, **OPTIONS)
    expected = LLMTokens.from_frame(DATA.items, n_components=5, whiten=wanted, **OPTIONS)
    tokens.save(tmp_path / "tokens")
    back = LLMTokens.load(tmp_path / "tokens")
    for found in (tokens.reduced(5, wanted), back.reduced(5).reduced(whiten=wanted)):
        assert np.allclose(found.vectors, expected.vectors, atol=1e-5)
        assert np.allclose(
            found.transform(DATA.items.iloc[:3]), expected.transform(DATA.items.iloc[:3]), atol=1e-5
        )
        assert np.allclose(found.explained_variance_ratio, expected.explained_variance_ratio)
        assert found.projection.whiten == wanted
    assert tokens.n_dims == 12


def test_joined_tokens_can_be_reduced():
    parts = [TOKENS, LLMTokens.from_frame(DATA.items, numeric="year")]
    long, short = (LLMTokens.concat(parts, n_components=n) for n in (10, 4))
    assert np.allclose(long.reduced(4).vectors, short.vectors, atol=1e-5)


def test_grid_search_chooses_the_length_of_tokens():
    grid = {
        "item_tokens": [TOKENS, None],
        "n_epochs": [1],
        "random_state": [0],
    }
    lengths = {"item_tokens": [TOKENS], "item_tokens__n_components": [1, 3, TOKENS.n_dims]}
    folds = KFold(2, random_state=0)
    search = GridSearchCV(LLMTokensSVD, grid | lengths, ["rmse"], folds)
    search.fit(DATA.dataset)
    found = search.cv_results["mean_test_rmse"]
    assert len(set(found)) == 3
    by_hand = GridSearchCV(
        LLMTokensSVD, grid | {"item_tokens": [TOKENS.reduced(n) for n in (1, 3)]}, ["rmse"], folds
    )
    by_hand.fit(DATA.dataset)
    assert by_hand.cv_results["mean_test_rmse"].tolist() == found[:2].tolist()
    best = search.best_params["rmse"]
    assert search.best_estimator["rmse"].item_tokens.n_dims == best["item_tokens__n_components"]


def test_users_have_theirs_and_places_do_not_matter():
    algo = LLMTokensSVD(TOKENS, USER_TOKENS, 7, user_tokens__n_components=2, item_tokens__whiten=1)
    assert (algo.item_tokens.n_dims, algo.user_tokens.n_dims) == (TOKENS.n_dims, 2)
    assert algo.n_factors == 7
    assert algo.item_tokens.projection.whiten == 1
    assert "item_tokens__whiten" not in inspect.signature(LLMTokensSVD).parameters


class Own(LLMTokensEASE):
    """With a parameter of its own, and nothing for tokens."""

    def __init__(self, item_tokens=None, my__own=1):
        super().__init__(item_tokens)
        self.my__own = my__own


def test_a_subclass_takes_them_too_and_keeps_its_own():
    algo = Own(TOKENS, my__own=2, item_tokens__n_components=3)
    assert (algo.item_tokens.n_dims, algo.my__own) == (3, 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"item_tokens__n_component": 3}, "'item_tokens__n_component'; expected one of 'item_tok"),
        ({"item_tokens__n_components": 10**6}, "found n_components=1000000; expected at most"),
        ({"item_tokens__n_components": 0}, "found n_components=0; expected at least 1"),
        ({"item_tokens__whiten": 2}, "found whiten=2; expected a number from 0 to 1"),
        ({"user_tokens__whiten": 1}, "user_tokens of type NoneType; expected LLMTokens"),
        ({"user_tokens": "history", "user_tokens__whiten": 1}, "user_tokens of type str"),
    ],
)
def test_what_cannot_be_is_said(given, says):
    with pytest.raises(DataError, match=says):
        LLMTokensSVD(TOKENS, **given)


def test_a_misspelt_parameter_is_the_error_it_always_was():
    with pytest.raises(TypeError, match="n_factor"):
        LLMTokensSVD(TOKENS, n_factor=3)
