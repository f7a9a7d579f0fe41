import numpy as np
import pytest
from algorithms import DATA, TOKENS, full, make

from llmtokens import HashingEncoder, LLMTokens
from llmtokens.errors import DataError, LLMTokensWarning
from llmtokens.recommend.where import example

ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
ITEMS = DATA.items.set_index("item")
GENRES = {i: set(cell) for i, cell in zip(TOKENS.ids, TOKENS.columns["genres"], strict=True)}
YEAR = ITEMS["year"]


@pytest.fixture(scope="module")
def algo():
    return make("LLMTokensEASE").fit(full(ROWS))


def listed(algo, where):
    return set(algo.recommend(ROWS[0][0], n=999, exclude_seen=False, where=where)["item"])


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("year < 1990", lambda i: YEAR[i] < 1990),
        ("1980 <= year < 1990", lambda i: 1980 <= YEAR[i] < 1990),
        ("'Western' in genres", lambda i: "Western" in GENRES[i]),
        ("'western' in genres", lambda i: "Western" in GENRES[i]),
        ("'Western' not in genres", lambda i: "Western" not in GENRES[i]),
        (
            "year < 1990 and 'Western' in genres",
            lambda i: YEAR[i] < 1990 and "Western" in GENRES[i],
        ),
        ("not (year < 1990 or year > 2000)", lambda i: 1990 <= YEAR[i] <= 2000),
        ("year in [1990, 1991] or year == 1992", lambda i: YEAR[i] in (1990, 1991, 1992)),
        ("`year` > -1 and 'THE' in label", lambda i: "the" in ITEMS["title"][i].lower()),
        ("genres == 'western'", lambda i: "Western" in GENRES[i]),
        ("'Western' != genres", lambda i: "Western" not in GENRES[i]),
        ("genres in ['Western', 'drama']", lambda i: {"Western", "Drama"} & set(GENRES[i])),
        ("item in (3, 4)", lambda i: i in (3, 4)),
        ("item != 3 and label >= 'M'", lambda i: i != 3 and ITEMS["title"][i] >= "M"),
        (lambda items: items["year"] > 1995, lambda i: YEAR[i] > 1995),
        (lambda items: [len(x) > 1 for x in items["genres"]], lambda i: len(GENRES[i]) > 1),
    ],
)
def test_lists_are_of_the_items_for_which_the_condition_holds(algo, where, holds):
    expected = {i for i in TOKENS.ids if holds(i)}
    assert 0 < len(expected) < len(TOKENS)
    assert listed(algo, where) == expected


def test_an_example_is_of_the_models_own_columns_and_can_be_read():
    new = np.where(DATA.items["year"] > 1995, "old", "it's new")
    frame = DATA.items.assign(**{"price in €": DATA.items["year"] / 7.0, "class": new})
    for numeric, labels in (("price in €", "genres"), ("price in €", "class"), ((), "class")):
        tokens = LLMTokens.from_frame(frame, numeric=numeric, categorical=labels)
        algo = make("LLMTokensEASE")
        algo.item_tokens = tokens
        algo.fit(full(ROWS))
        said = example(algo.model_)
        assert ("`price in €` < " in said) == bool(numeric)
        assert listed(algo, said)
    algo.item_tokens = LLMTokens.from_embeddings(TOKENS.ids, TOKENS.vectors)
    assert example(algo.fit(full(ROWS)).model_) == ""


def test_a_condition_and_candidates_hold_together(algo):
    some = [i for i in TOKENS.ids if YEAR[i] < 1990][:4] + [i for i in TOKENS.ids if YEAR[i] > 1990]
    found = algo.recommend(ROWS[0][0], n=99, exclude_seen=False, candidates=some,
                           where="year < 1990")  # fmt: skip
    assert set(found["item"]) == set(some[:4])
    assert len(algo.recommend(ROWS[0][0], where="year < 0")) == 0


@pytest.mark.parametrize(
    "where",
    [
        "__import__('os').system('true')", "year.__class__", "[x for x in genres]", "lambda: 1",
        "year", "year <", "(year := 3) > 2", "open('x')", "year + 1 < 2", "'Drama' < genres", "",
        "year < 'x'", "f'{year}' == 'x'", "year is 3", "1 if year else 2", "not " * 9999 + "year",
        "'x' in year", "year in 'x'", "['Drama'] in genres", "x < 1", "*year < 1", "1" * 20_000,
        "\0", 3, True, lambda items: 1, lambda items: [1] * len(items), lambda items: [True],
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_words(algo, where):
    with pytest.raises(DataError, match=r"found .*where.*expected"):
        algo.recommend(ROWS[0][0], where=where)


def test_a_column_that_is_none_is_told_the_ones_there_are(algo):
    with pytest.raises(DataError, match="found the column 'price'.*'item', 'label', 'genres'"):
        algo.recommend(ROWS[0][0], where="price < 3")


def test_no_comparison_holds_for_what_is_missing():
    items = DATA.items.assign(year=DATA.items["year"].where(DATA.items["item"] > 5))
    tokens = LLMTokens.from_frame(items, "{title}", numeric="year", encoder=HashingEncoder())
    algo = make("LLMTokensEASE", item_tokens=tokens).fit(full(ROWS))
    for where in ("year < 3000", "year >= 0", "year != 0"):
        assert listed(algo, where) == {i for i in TOKENS.ids if i > 5}


def test_columns_are_in_files_in_fused_tables_and_with_new_items(tmp_path):
    TOKENS.save(tmp_path / "t")
    assert LLMTokens.load(tmp_path / "t").columns == TOKENS.columns
    vectors = LLMTokens.from_embeddings(["x", 1], np.eye(2))
    fused = LLMTokens.concat([vectors, TOKENS])
    assert (
        fused.columns["genres"][fused.ids.index(7)] == TOKENS.columns["genres"][TOKENS.ids.index(7)]
    )
    assert fused.columns["genres"][0] == []
    assert np.isnan(fused.columns["year"][0])
    with pytest.warns(LLMTokensWarning, match="hold no label that was there .* such as 'Drama'"):
        new = TOKENS.with_content("new", {"title": "x", "genres": "Drama", "year": 1999})
    assert (new.columns["genres"][-1], new.columns["year"][-1]) == (["Drama"], 1999.0)
    text = TOKENS.with_content(TOKENS.ids[0], "a text alone")
    assert text.columns["genres"][0] == []
    assert vectors.columns is None
