"""A user's script, as type checkers see it; ``make lint`` has mypy check it."""

from typing import assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensBPMF, LLMTokensEASE, LLMTokensSVD
from llmtokens.compare import compare
from llmtokens.compare.results import Comparison
from llmtokens.datasets import RatingData, load_movielens, load_ratings, synthetic
from llmtokens.model_selection import ColdItemKFold
from llmtokens.recommend.explain import Explanation


def use() -> None:
    data = synthetic()
    assert_type(data, RatingData)
    assert_type(load_ratings("ratings.csv"), RatingData)
    assert_type(load_movielens("ml-latest-small"), RatingData)

    tokens = LLMTokens.from_frame(data.items, "{title}", encoder=HashingEncoder())
    assert_type(tokens, LLMTokens)
    assert_type(tokens.vectors, NDArray[np.float32])

    trainset = data.dataset.build_full_trainset()
    algo = LLMTokensSVD(tokens, n_factors=20, random_state=0).fit(trainset)
    assert_type(algo, LLMTokensSVD)
    assert_type(LLMTokensBPMF(tokens).fit(trainset), LLMTokensBPMF)
    assert_type(LLMTokensEASE(tokens).fit(trainset), LLMTokensEASE)
    assert_type(algo.recommend(1, n=5), pd.DataFrame)
    assert_type(algo.explain(1, 2), Explanation)
    assert_type(algo.explain(1, 2).sentence, str)
    assert_type(compare({"a": algo}, data, {"cold": ColdItemKFold(3)}), Comparison)
    assert_type(llmtokens.__version__, str)
