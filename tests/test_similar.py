import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, USER_TOKENS, full, make

from llmtokens import HashingEncoder, LLMTokens
from llmtokens.errors import DataError

ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN = full([row for row in ROWS if row[1] != TOKENS.ids[0]])
ITEM = TOKENS.ids[3]


def test_similar_ids_are_those_of_the_nearest_texts_whatever_the_years():
    found = TOKENS.similar(ITEM, n=5)
    unit = TOKENS.embeddings.astype(float)
    near = unit @ unit[TOKENS.ids.index(ITEM)]
    order = [k for k in np.argsort(-near, kind="stable") if TOKENS.ids[k] != ITEM][:5]
    assert found["id"].tolist() == [TOKENS.ids[k] for k in order]
    np.testing.assert_allclose(found["similarity"], near[order], atol=1e-3)
    title = DATA.items.set_index("item")["title"]
    assert found["label"].tolist() == [title[i] for i in found["id"]]
    years = DATA.items.assign(year=1900.0)
    other = LLMTokens.from_frame(
        years, "{title}. {description}", numeric=["year"], encoder=HashingEncoder()
    )
    assert other.similar(ITEM, n=5).equals(found)


def test_an_id_without_text_is_near_to_nothing():
    bare = LLMTokens.concat([TOKENS, LLMTokens.from_embeddings(["x", "y"], np.eye(2))])
    assert len(bare.similar("x")) == 0
    assert "x" not in bare.similar(ITEM, n=999)["id"].tolist()


def test_tokens_without_text_are_compared_as_they_are():
    tokens = LLMTokens.from_embeddings(list("abc"), [[1.0, 0.0], [0.9, 0.1], [-1.0, 0.2]])
    assert tokens.similar("a")["id"].tolist() == ["b", "c"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_items_alike_by_ratings_are_those_that_the_same_users_like(name):
    algo = make(name).fit(TRAIN)
    found = algo.similar_items(ITEM, n=99, by="ratings")
    frame = DATA.ratings[DATA.ratings["item"] != TOKENS.ids[0]]
    low, high = frame["rating"].min(), frame["rating"].max()
    liked = frame.assign(x=0.05 + 0.95 * (frame["rating"] - low) / (high - low))
    matrix = liked.pivot_table(index="item", columns="user", values="x").fillna(0)
    lengths = np.sqrt((matrix**2).sum(axis=1))
    near = (matrix @ matrix.loc[ITEM]) / (lengths * lengths[ITEM] + 20)
    near = near.drop(ITEM).loc[lambda x: x > 0].sort_values(ascending=False)
    np.testing.assert_allclose(found["similarity"], near, atol=1e-9)
    common = ((matrix > 0) & (matrix.loc[ITEM] > 0)).sum(axis=1)
    assert found["common"].tolist() == [common[i] for i in found["item"]]
    assert ITEM not in found["item"].tolist()


def test_users_alike_have_rated_and_liked_the_same():
    rows = [(u, i, 5.0) for u in "ab" for i in range(30)]
    rows += [("c", i, 5.0 if i < 15 else 0.5) for i in range(30)] + [("d", 99, 5.0)]
    algo = make("LLMTokensEASE", item_tokens=None).fit(full(rows, (0.5, 5)))
    found = algo.similar_users("a")
    assert found["user"].tolist() == ["b", "c"]
    assert found["common"].tolist() == [30, 30]
    assert found["similarity"][0] > found["similarity"][1]


def test_users_alike_by_text_are_those_of_the_nearest_tokens():
    uid = USER_TOKENS.ids[0]
    algo = make("LLMTokensBPMF, users").fit(TRAIN)
    found = algo.similar_users(uid, n=3, by="text")
    assert found["user"].tolist() == USER_TOKENS.similar(uid, n=3)["id"].tolist()


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "item_tokens" in ALGORITHMS[n][1]])
def test_items_alike_by_text_are_those_of_the_tokens(name):
    algo = make(name).fit(TRAIN)
    for iid in (ITEM, TOKENS.ids[0]):  # warm and cold
        found = algo.similar_items(iid, n=4).rename(columns={"item": "id"})
        pd.testing.assert_frame_equal(found, TOKENS.similar(iid, n=4))


def test_what_cannot_be_compared_is_refused():
    algo = make("LLMTokensSVD").fit(TRAIN)
    with pytest.raises(DataError, match="has no ratings; expected one that has, or by='text'"):
        algo.similar_items(TOKENS.ids[0], by="ratings")
    with pytest.raises(DataError, match="has no token.*user_tokens.*by='ratings'"):
        algo.similar_users(ROWS[0][0], by="text")
    with pytest.raises(DataError, match="'nothing', which is unknown"):
        algo.similar_items("nothing")
    with pytest.raises(DataError, match="found n=0"):
        algo.similar_items(ITEM, n=0)
    with pytest.raises(DataError, match="found n=0"):
        TOKENS.similar(ITEM, n=0)
