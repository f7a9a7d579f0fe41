"""What tokens stand for: shares of their blocks, words, and the ids at their ends."""

import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, TOKENS

from llmtokens import HashingEncoder, LLMTokens, plots
from llmtokens.errors import DataError
from llmtokens.tokens.words import Words

RNG = np.random.default_rng(0)
SHARES = ["text share", "genres share", "year share"]


def frame(n=400):
    """Half of the titles are of the sea, half of the desert; "old" is said of ids by chance."""
    sea, old = np.arange(n) % 2 == 0, RNG.random(n) < 0.3
    title = [
        f"{'ship and whale' if s else 'camel and dune'} {'old' if o else 'new'} nr{k}"
        for k, (s, o) in enumerate(zip(sea, old, strict=True))
    ]
    kind = np.where(RNG.random(n) < 0.5, "Tale", "Report")
    return pd.DataFrame({"item": range(n), "title": title, "kind": kind, "sea": sea})


def test_shares_are_the_squared_lengths_of_the_axis_in_each_block():
    """From the features themselves: in principal axes both are the same."""
    found = TOKENS.describe(8)
    projection, at = TOKENS.projection, 0
    for name, (values, present), width in zip(
        SHARES, projection.features(DATA.items), projection.widths, strict=True
    ):
        values = values.toarray() if hasattr(values, "toarray") else values
        mean = values[present].mean(axis=0)
        scale = 1 / np.sqrt(np.mean(np.sum(((values - mean) * present[:, None]) ** 2, axis=1)))
        axis = projection.components[:8, at : at + width] / scale
        at += width
        np.testing.assert_allclose(found[name][::2], np.sum(axis**2, axis=1), atol=1e-4)
    np.testing.assert_allclose(found[SHARES].sum(axis=1), 1, atol=1e-6)


def test_each_entry_has_its_ends_with_the_ids_that_lie_furthest_out():
    found = TOKENS.describe(3, n=4)
    assert found["dim"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["end"].tolist() == ["low", "high"] * 3
    for row in found.itertuples():
        order = np.argsort(TOKENS.vectors[:, row.dim] * (1 if row.end == "low" else -1))[:4]
        assert row.items == [TOKENS.labels[k] for k in order]
    year = DATA.items.set_index("title")["year"]
    np.testing.assert_allclose(found["year mean"], [year[x].mean() for x in found["items"]])


def test_words_at_the_ends_are_those_that_make_the_difference_and_no_others():
    tokens = LLMTokens.from_frame(frame(), "{title}", categorical="kind", encoder=HashingEncoder())
    found = tokens.describe(4, n=9)
    ends = [set(words) for words in found["words"]]
    assert {"ship", "whale"} in ends
    assert {"camel", "dune"} in ends
    at = ends.index({"ship", "whale"})
    assert found["text share"][at] > 0.95
    kinds = next(k for k, words in enumerate(ends) if "Tale" in words)
    assert found["kind share"][kinds] > 0.5
    assert "Report" in ends[kinds ^ 1]


def test_words_said_by_chance_go_with_nothing():
    """In one of twenty tables one may seem to; in fifty, a few."""
    texts = [" ".join(f"w{k}" for k in np.flatnonzero(row)) for row in RNG.random((300, 40)) < 0.1]
    words = Words.of(300, texts, None)
    assert len(words.names) > 30
    assert sum(bool(words.telling(RNG.normal(size=300), 5)) for _ in range(50)) <= 8
    numbers = RNG.normal(size=300) + words.said[:, [7]].toarray()[:, 0] * 2
    assert words.telling(numbers, 5) == [words.names[7]]


def test_by_chance_is_the_spread_of_means_over_shuffled_numbers():
    words = Words.of(90, TOKENS.labels, TOKENS.columns)
    numbers = RNG.gamma(1.0, size=90)
    shuffled = np.stack([RNG.permutation(numbers) for _ in range(4000)], axis=1)
    spread = words.means(shuffled).std(axis=1)
    np.testing.assert_allclose(spread, words.by_chance(numbers[:, None])[:, 0], rtol=0.08)


def test_texts_that_the_table_does_not_keep_can_be_given():
    tokens = LLMTokens.from_texts(
        frame()["item"], frame()["title"], encoder=HashingEncoder(), n_components=4
    )
    assert all(words == [] for words in tokens.describe(1)["words"])
    assert tokens.describe(1)["items"][0][0] in {str(raw) for raw in tokens.ids}
    assert {"whale", "dune"} <= {w for x in tokens.describe(2, texts=frame()["title"])["words"]
                                 for w in x}  # fmt: skip
    with pytest.raises(DataError, match="one per id"):
        tokens.describe(texts=["one"])


def test_shares_are_known_of_saved_and_joined_tables_and_not_where_columns_are_missing(tmp_path):
    TOKENS.save(tmp_path / "tokens")
    pd.testing.assert_frame_equal(
        LLMTokens.load(tmp_path / "tokens").describe(4), TOKENS.describe(4)
    )
    vectors = LLMTokens.from_embeddings(TOKENS.ids, RNG.normal(size=(90, 3)))
    joined = LLMTokens.concat([TOKENS, vectors]).describe(4)
    names = ["text and embeddings share", *SHARES[1:]]
    np.testing.assert_allclose(joined[names].sum(axis=1), 1, atol=1e-6)
    users = LLMTokens.from_history(DATA.ratings, TOKENS).describe(2)
    assert users[SHARES].isna().all(axis=None)


def test_a_table_of_constants_has_no_shares():
    same = LLMTokens.from_embeddings(list("abc"), np.ones((3, 2)))
    assert same.describe(1)["embeddings share"].isna().all()


# -- the map of texts


@pytest.fixture(scope="module")
def seas():
    """Titles of the sea and of the desert, of all years and kinds alike."""
    rows = frame().assign(year=1950 + RNG.random(400) * 70)
    return LLMTokens.from_frame(
        rows, "{title}", categorical="kind", numeric="year", encoder=HashingEncoder()
    )


def drawn(ax):
    """The points of all ids, as they lie side by side in the figure."""
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])


def test_on_the_map_texts_that_are_alike_are_neighbours_whatever_the_year(seas):
    pytest.importorskip("matplotlib")
    places = drawn(plots.token_map(seas))
    assert len(places) == 400
    sea = frame()["sea"].to_numpy()
    gaps = ((places[:, None] - places[None]) ** 2).sum(axis=2) + np.diag(np.full(400, np.inf))
    assert np.mean(sea[gaps.argmin(axis=1)] == sea) > 0.95
    for column in (
        np.array(seas.columns["year"]) > 1985,
        [kinds == ["Tale"] for kinds in seas.columns["kind"]],
    ):
        told = np.asarray(column)
        assert abs(np.mean(told[gaps.argmin(axis=1)] == told) - 0.5) < 0.1


def test_groups_on_the_map_bear_the_words_of_their_ids(seas):
    pytest.importorskip("matplotlib")
    ax = plots.token_map(seas)
    places, sea = drawn(ax), frame()["sea"].to_numpy()
    named = 0
    for text in ax.texts:
        nearest = ((places - text.xy) ** 2).sum(axis=1).argsort()[:10]
        words = set(text.get_text().replace(",", " ").split())
        if words & {"ship", "whale"}:
            assert sea[nearest].mean() > 0.7
        if words & {"camel", "dune"}:
            assert sea[nearest].mean() < 0.3
        named += bool(words & {"ship", "whale", "camel", "dune"})
    assert named > len(ax.texts) / 2


def test_colours_tell_labels_and_numbers(seas):
    pytest.importorskip("matplotlib")
    ax = plots.token_map(seas, by="kind")
    counts = pd.Series([kinds[0] for kinds in seas.columns["kind"]]).value_counts()
    shown = {c.get_label(): len(c.get_offsets()) for c in ax.collections}
    assert shown == counts.to_dict()
    ax = plots.token_map(seas, by="year")
    assert ax.collections[-1].get_array().tolist() == seas.columns["year"]
    assert len(ax.figure.axes) == 2


def test_users_lie_among_the_texts_that_they_chose(seas):
    pytest.importorskip("matplotlib")
    ids, sea = np.array(seas.ids), frame()["sea"].to_numpy()
    rows = [(f"{side} {u}", i) for side, mine in (("sea", sea), ("desert", ~sea))
            for u in range(5) for i in RNG.choice(ids[mine], 12, replace=False)]  # fmt: skip
    users = LLMTokens.from_history(pd.DataFrame(rows, columns=["user", "item"]), seas)
    ax = plots.token_map(seas, users=users)
    points, places = ax.collections
    assert len(places.get_offsets()) == 10
    for user, place in zip(users.ids, places.get_offsets(), strict=True):
        nearest = ((np.asarray(points.get_offsets()) - place) ** 2).sum(axis=1).argmin()
        assert sea[nearest] == user.startswith("sea")


def test_a_map_of_three_vectors_without_words_names_its_ids():
    pytest.importorskip("matplotlib")
    ax = plots.token_map(LLMTokens.from_embeddings(["one", "two", "three"], np.eye(3)))
    assert [text.get_text() in ("one", "two", "three") for text in ax.texts] == [True]
    assert "tokens" in ax.get_xlabel()
