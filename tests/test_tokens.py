import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest

from llmtokens import HashingEncoder, LLMTokens
from llmtokens.errors import DataError, FileFormatError, LLMTokensWarning

TITLES = ["A heist in Paris", "Love in Paris", "Robots in space", "Ghosts of the sea", "The sea"]


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "item": [10, 20, 30, 40, 50],
            "title": TITLES,
            "genres": [("Crime",), ("Romance", "Drama"), ("Sci-Fi",), (), ("Drama",)],
            "year": [1999.0, 1987.0, np.nan, 2004.0, 1955.0],
        }
    )


@pytest.fixture
def tokens(frame):
    return LLMTokens.from_frame(
        frame,
        text="{title}. Genres: {genres}",
        categorical=["genres"],
        numeric=["year"],
        encoder=HashingEncoder(),
    )


class Recorder:
    """An encoder that remembers what it was asked."""

    name, revision = "recorder", "1"

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen.append(list(texts))
        return np.array([[len(t), t.count("a"), 1.0] for t in texts], np.float32).reshape(-1, 3)


# -- building


def test_templates_are_filled_as_a_person_would_write(frame):
    encoder = Recorder()
    LLMTokens.from_frame(frame, ["{title} ({year})", "{genres}"], encoder=encoder)
    assert encoder.seen[0][:3] == [
        "A heist in Paris (1999)",
        "Love in Paris (1987)",
        "Robots in space ()",
    ]
    assert encoder.seen[1] == ["Crime", "Romance, Drama", "Sci-Fi", "Drama"]


def test_columns_are_the_best_summary_first(tokens):
    spread = tokens.vectors.astype(float).var(axis=0)
    assert (np.diff(spread) <= 1e-9).all()
    assert tokens.explained_variance_ratio.sum() == pytest.approx(1)


def test_the_scores_keep_all_distances_of_the_blocks(frame):
    encoder = Recorder()
    tokens = LLMTokens.from_frame(frame, "{title}", numeric=["year"], encoder=encoder)
    text = encoder.encode(TITLES).astype(float)
    text -= text.mean(axis=0)
    text /= np.sqrt((text**2).sum(axis=1).mean())
    from sklearn.preprocessing import SplineTransformer

    have = frame.year.notna().to_numpy()
    years = frame.year[have].to_numpy()[:, None]
    knots = np.unique(np.quantile(years, np.linspace(0, 1, 8)))[:, None]
    basis = SplineTransformer(knots=knots).fit(years).transform(years)
    year = np.zeros((5, basis.shape[1]))
    year[have] = basis - basis.mean(axis=0)
    year /= np.sqrt((year**2).sum(axis=1).mean())
    features = np.hstack([text, year])
    np.testing.assert_allclose(tokens.vectors @ tokens.vectors.T, features @ features.T, atol=1e-5)


def test_several_templates_are_several_blocks(frame):
    tokens = LLMTokens.from_frame(frame, ["{title}", "{genres}"], encoder=HashingEncoder())
    assert tokens.template == ("{title}", "{genres}")
    assert len(tokens.projection.blocks) == 2


def test_a_row_without_one_block_takes_that_blocks_mean(frame):
    tokens = LLMTokens.from_frame(frame, categorical=["genres"], numeric=["year"])
    neutral = frame.iloc[[3]].assign(year=np.nan)
    np.testing.assert_allclose(tokens.transform(neutral), 0, atol=1e-6)


def test_users_have_tokens_too():
    users = pd.DataFrame({"user": ["u", "v", "w"], "gender": ["F", "M", "F"], "age": [25, 50, 35]})
    tokens = LLMTokens.from_frame(users, categorical=["gender"], numeric=["age"])
    assert tokens.ids == ["u", "v", "w"]
    assert tokens.encoder is None


def test_labels_are_the_titles(tokens):
    assert tokens.labels == TITLES


def test_it_shows_itself_in_one_line(tokens):
    assert repr(tokens) == f"LLMTokens(5 ids, {tokens.n_dims} dims, hashing)"


# -- fusing


def test_concat_fuses_over_the_union_of_ids(tokens):
    rng = np.random.default_rng(0)
    images = LLMTokens.from_embeddings([20, 30, 99], rng.normal(size=(3, 6)))
    fused = LLMTokens.concat([tokens, images])
    assert fused.ids == [10, 20, 30, 40, 50, 99]
    assert fused.labels == [*TITLES, "99"]
    text_energy = (fused.components[:, : len(tokens.mean)] ** 2).sum()
    assert text_energy > 0


def test_concat_projects_new_content_where_the_old_is(tokens, frame):
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(5, 6))
    fused = LLMTokens.concat([tokens, LLMTokens.from_embeddings(frame["item"], pictures)])
    np.testing.assert_allclose(fused.transform([frame, pictures]), fused.vectors, atol=1e-5)
    text_only = fused.transform([frame, None])
    image_only = fused.transform([None, pictures])
    np.testing.assert_allclose(text_only + image_only, fused.vectors, atol=1e-5)


# -- meeting ids


def test_ids_match_in_any_form():
    tokens = LLMTokens.from_embeddings([1, "x", 2.0], np.eye(3))
    assert tokens.align([1.0, "1", "2", 2, "2.0", 3]).tolist() == [0, 0, 2, 2, 2, -1]


@pytest.mark.parametrize("twice", [[1, "1", 2], [2.0, "2.0", 1], ["1", "1.0", "2"]])
def test_one_id_in_two_forms_is_refused(twice):
    frame = pd.DataFrame({"item": pd.Series(twice, dtype=object), "title": ["Heat", "Emma", "Go"]})
    for make in (
        lambda: LLMTokens.from_embeddings(twice, np.eye(3)),
        lambda: LLMTokens.from_texts(twice, frame["title"], encoder=HashingEncoder()),
        lambda: LLMTokens.from_frame(frame, "{title}", encoder=HashingEncoder()),
    ):
        with pytest.raises(DataError, match="found 1 ids in two forms"):
            make()


def test_columns_of_numbers_may_be_of_any_width(frame):
    pyarrow = pytest.importorskip("pyarrow")
    frame["year"] = frame["year"].fillna(1970.0)
    wide = LLMTokens.from_frame(frame, numeric=["year"])
    for of in (pyarrow.float16(), pyarrow.float32()):
        narrow = frame.assign(year=frame["year"].astype("float16").astype(pd.ArrowDtype(of)))
        made = LLMTokens.from_frame(narrow, numeric=["year"])
        np.testing.assert_allclose(np.abs(made.vectors), np.abs(wide.vectors), atol=0.02)


# -- projecting


def test_its_own_content_projects_onto_itself(tokens, frame):
    np.testing.assert_allclose(tokens.transform(frame), tokens.vectors, atol=1e-5)


def test_no_new_content_is_no_new_tokens(tokens, frame):
    assert tokens.transform(frame[:0]).shape == (0, tokens.n_dims)


def test_new_categories_are_ignored(tokens, frame):
    odd = frame.iloc[[0]].assign(genres=[("Crime", "Anime")], title="A heist in Paris")
    assert np.isfinite(tokens.transform(odd)).all()


@pytest.mark.parametrize("wrong", [np.zeros((1, 3)), "one text", [["nested"]]])
def test_content_of_another_form_is_refused(tokens, wrong):
    with pytest.raises(DataError, match="found"):
        tokens.transform(wrong)


# -- refusing


def test_duplicate_ids_are_named(frame):
    with pytest.raises(DataError, match="1 duplicate ids, the first being 10"):
        LLMTokens.from_frame(frame.assign(item=[10, 10, 30, 40, 50]), numeric=["year"])


def test_an_id_may_read_like_a_missing_value():
    assert LLMTokens.from_embeddings(["<NA>", "nan"], np.eye(2)).ids == ["<NA>", "nan"]


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA, pd.NaT])
def test_missing_ids_are_named(hole):
    with pytest.raises(DataError, match="without an id, at positions 1"):
        LLMTokens.from_embeddings(["a", hole], np.eye(2))


@pytest.mark.parametrize("text", ["", "   ", None, float("nan")])
def test_an_empty_text_is_named(text):
    with pytest.raises(DataError, match="1 of 3 ids have no content, the first being 'b'"):
        LLMTokens.from_texts(["a", "b", "c"], ["x y", text, "z"], encoder=HashingEncoder())


def test_a_row_of_a_frame_without_any_content_gets_no_token_and_a_warning(frame):
    frame.loc[1, ["title", "year"]] = [" ", np.nan]
    with pytest.warns(LLMTokensWarning, match="1 of 5 ids have no content, the first being 20"):
        tokens = LLMTokens.from_frame(frame, "{title}", numeric=["year"], encoder=HashingEncoder())
    assert tokens.ids == [10, 30, 40, 50]
    assert tokens.align([20]).tolist() == [-1]
    assert len(tokens.labels) == len(tokens.vectors) == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_embeddings_that_are_no_numbers_are_named(bad):
    array = np.eye(3)
    array[1, 2] = bad
    with pytest.raises(DataError, match="in 1 rows, the first being 1"):
        LLMTokens.from_embeddings("abc", array)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((3, 2, 2)), np.zeros((3, 0)), [["x"]] * 3])
def test_embeddings_of_a_wrong_shape_are_refused(array):
    with pytest.raises(DataError, match="embeddings"):
        LLMTokens.from_embeddings("abc", array)


def test_a_missing_column_is_named_beside_those_there_are(frame):
    with pytest.raises(DataError, match=r"\['item', 'title', 'genres', 'year'\].*\['plot'\]"):
        LLMTokens.from_frame(frame, "{title} {plot}", encoder=HashingEncoder())


@pytest.mark.parametrize(
    "template", ["", "no field", "{", "{0}", "{title.__class__}", "{title[0]}"]
)
def test_a_template_must_be_plain_column_names(frame, template):
    with pytest.raises(DataError, match="template|at least one"):
        LLMTokens.from_frame(frame, template, encoder=HashingEncoder())


def test_lengths_must_agree():
    with pytest.raises(DataError, match="2 ids and 3"):
        LLMTokens.from_texts([1, 2], ["a", "b", "c"], encoder=HashingEncoder())
    with pytest.raises(DataError, match="2 ids and 3"):
        LLMTokens.from_embeddings([1, 2], np.eye(3))


def test_a_column_of_words_is_no_number(frame):
    with pytest.raises(DataError, match="'title' is not numeric"):
        LLMTokens.from_frame(frame, numeric=["title"])


def test_one_id_is_too_few():
    with pytest.raises(DataError, match="at least two"):
        LLMTokens.from_embeddings([1], np.eye(1))


# -- files


def test_a_saved_table_is_the_same_table(tokens, frame, tmp_path):
    path = tmp_path / "tokens.safetensors"
    tokens.save(path)
    read = LLMTokens.load(path)
    assert (read.ids, read.labels, repr(read)) == (tokens.ids, tokens.labels, repr(tokens))
    assert (read.encoder, read.revision, read.template) == (
        tokens.encoder,
        tokens.revision,
        tokens.template,
    )
    np.testing.assert_array_equal(read.vectors, tokens.vectors)
    np.testing.assert_array_equal(read.transform(frame), tokens.transform(frame))


def test_an_unknown_encoder_is_never_loaded_because_a_file_says_so(frame, tmp_path):
    encoder = Recorder()
    LLMTokens.from_frame(frame, "{title}", encoder=encoder).save(tmp_path / "t.safetensors")
    with pytest.raises(OSError, match="recorder"):
        LLMTokens.load(tmp_path / "t.safetensors").transform(frame)
    read = LLMTokens.load(tmp_path / "t.safetensors", encoder=encoder)
    assert np.isfinite(read.transform(frame)).all()


def test_a_file_of_another_kind_is_refused(tmp_path):
    from llmtokens.storage import container as store

    store.write(tmp_path / "x.safetensors", "other", {}, {})
    with pytest.raises(FileFormatError, match="expected 'tokens'"):
        LLMTokens.load(tmp_path / "x.safetensors")


def test_a_loaded_table_travels_by_reference_to_other_processes(tmp_path):
    path = tmp_path / "big.safetensors"
    LLMTokens.from_embeddings(range(5000), np.random.default_rng(0).normal(size=(5000, 64))).save(
        path
    )
    tokens = LLMTokens.load(path)
    kinds = joblib.Parallel(n_jobs=2)(
        joblib.delayed(lambda t: type(t.vectors).__name__)(tokens) for _ in range(2)
    )
    assert kinds == ["memmap", "memmap"]


@pytest.mark.parametrize("gone", [False, True])
def test_other_processes_get_the_table_that_was_loaded_whatever_became_of_the_file(tmp_path, gone):
    path, rng = tmp_path / "big.safetensors", np.random.default_rng(0)
    LLMTokens.from_embeddings(range(5000), rng.normal(size=(5000, 64))).save(path)
    tokens = LLMTokens.load(path)
    if gone:
        path.unlink()
    else:
        LLMTokens.from_embeddings(range(5001), rng.normal(size=(5001, 64))).save(path)
    found = joblib.Parallel(n_jobs=2)(
        joblib.delayed(lambda t: np.array(t.vectors))(tokens) for _ in range(2)
    )
    assert all(np.array_equal(vectors, tokens.vectors) for vectors in found)


def test_it_cannot_be_changed(tokens):
    with pytest.raises(AttributeError):
        tokens.ids = []
    with pytest.raises(ValueError, match="read-only"):
        tokens.vectors[0] = 0


def test_the_callers_array_stays_writable():
    array = np.eye(3, dtype=np.float32)
    LLMTokens.from_embeddings("abc", array)
    array[0] = 2


def test_importing_the_library_imports_nothing_heavy():
    code = (
        "import sys, llmtokens; heavy = {'torch', 'sentence_transformers', 'matplotlib', 'sklearn',"
        "'numba', 'pandas', 'dask'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_warnings_are_the_librarys_own():
    assert issubclass(LLMTokensWarning, UserWarning)


def test_a_template_may_cut_a_text_and_says_so_where_it_asks_for_more():
    frame = pd.DataFrame({"item": [1, 2], "title": ["abcdef", "ghi"], "year": [1999.0, 2001.0]})
    encoder = HashingEncoder(16)
    cut = LLMTokens.from_frame(frame, "{title:.3}", encoder=encoder)
    assert np.array_equal(
        cut.vectors, LLMTokens.from_texts([1, 2], ["abc", "ghi"], encoder=encoder).vectors
    )
    with pytest.raises(DataError, match=r"every column is text there: expected \{year\}"):
        LLMTokens.from_frame(frame, "{title} {year:.0f}", encoder=encoder)


# -- embeddings beside the tokens


def test_embeddings_are_what_the_encoder_gave_at_norm_one(tokens, frame):
    encoder = HashingEncoder()
    texts = [f"{t}. Genres: {', '.join(g)}" for t, g in zip(TITLES, frame.genres, strict=True)]
    expected = encoder.encode([text.strip() for text in texts])
    assert tokens.embeddings.dtype == np.float16
    np.testing.assert_allclose(tokens.embeddings, expected, atol=1e-3)
    assert tokens.text_space == f"{encoder.name}@{encoder.revision}"
    question = tokens.embed("robots lost in space")
    assert np.linalg.norm(question) == pytest.approx(1)
    assert (tokens.embeddings @ question).argmax() == 2


def test_only_text_of_one_encoder_has_embeddings(frame):
    assert LLMTokens.from_embeddings("abc", np.eye(3)).embeddings is None
    numbers = LLMTokens.from_frame(frame.fillna(2000.0), numeric=["year"])
    assert (numbers.embeddings, numbers.text_space) == (None, None)
    with pytest.raises(DataError, match="encoders none"):
        numbers.embed("words")
    two = [LLMTokens.from_texts([1, 2], ["a b", "c"], encoder=HashingEncoder(n)) for n in (8, 16)]
    assert LLMTokens.concat(two).embeddings is None
    none = LLMTokens.from_frame(frame, "{title}", encoder=HashingEncoder(), keep_embeddings=False)
    assert none.embeddings is None
    assert none.text_space == LLMTokens.concat([none, none]).text_space is not None
    assert LLMTokens.concat([none, none]).embeddings is None


def test_several_texts_of_one_id_are_averaged(frame):
    encoder = HashingEncoder()
    both = LLMTokens.from_frame(frame, ["{title}", "{genres}"], encoder=encoder)
    titles, genres = encoder.encode(TITLES), encoder.encode([", ".join(g) for g in frame.genres])
    mean = titles + genres
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(both.embeddings, mean, atol=1e-3)
    np.testing.assert_allclose(both.embeddings[3], titles[3], atol=1e-3)  # it has no genre


def test_ids_that_read_alike_are_one_in_fused_tables():
    numbers = LLMTokens.from_embeddings(range(80), np.eye(80))
    texts = LLMTokens.from_embeddings([str(k) for k in range(40, 100)], np.eye(60))
    fused = LLMTokens.concat([numbers, texts])
    assert fused.ids == [*range(80), *(str(k) for k in range(80, 100))]
    assert LLMTokens.concat([texts, numbers]).align([50, "50"]).tolist() == [10, 10]


def test_fused_tables_keep_the_embeddings_of_the_text(tokens):
    images = LLMTokens.from_embeddings([20, 99], np.eye(2))
    fused = LLMTokens.concat([tokens, images])
    np.testing.assert_allclose(fused.embeddings[:5], tokens.embeddings, atol=1e-3)
    assert not fused.embeddings[5].any()


def test_embeddings_are_saved_with_the_tokens(tokens, tmp_path):
    tokens.save(tmp_path / "t.safetensors")
    read = LLMTokens.load(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(read.embeddings, tokens.embeddings)
    mapped = LLMTokens.load(tmp_path / "t.safetensors", mmap=True)
    np.testing.assert_array_equal(mapped.embeddings, tokens.embeddings)
    assert not mapped.embeddings.flags.owndata  # it stays on disk
    assert read.text_space == tokens.text_space


def test_embeddings_of_another_length_than_the_encoders_are_a_damaged_file(tokens):
    payload, arrays = tokens.to_parts()
    with pytest.raises(FileFormatError, match="embeddings"):
        LLMTokens.from_parts(payload, {**arrays, "embeddings": arrays["embeddings"][:, 1:]}, None)


# -- one id


def test_a_token_is_had_by_its_id(tokens):
    assert np.array_equal(tokens[30], tokens.vectors[2])
    assert np.array_equal(tokens["30"], tokens.vectors[2])
    assert 30 in tokens
    assert 31 not in tokens
    assert list(tokens) == tokens.ids
    with pytest.raises(DataError, match=r"id 31, which has no token; expected one of 10, 20"):
        tokens[31]


def test_content_of_one_id_is_added_or_replaced(tokens, frame):
    row = frame.iloc[2].to_dict()
    new = tokens.with_content(60, row)
    assert new.ids == [*tokens.ids, 60]
    assert new.labels[-1] == TITLES[2]
    np.testing.assert_allclose(new[60], tokens[30], atol=1e-6)
    np.testing.assert_array_equal(new.embeddings[5], tokens.embeddings[2])
    other = tokens.with_content(10, "robots in space")
    assert (len(other), other.labels[0]) == (5, "robots in space")
    np.testing.assert_allclose(other[10], tokens.query("robots in space"), atol=1e-6)
    np.testing.assert_array_equal(tokens.embeddings[1:], other.embeddings[1:])
    with pytest.raises(DataError, match="content of 5 ids"):
        tokens.with_content(60, frame)


# -- users beside items


def test_texts_of_users_land_where_items_of_the_same_text_are(tokens):
    users = pd.DataFrame({"user": ["u", "v", "w"], "about": [TITLES[0], "Robots in space", ""]})
    with pytest.warns(LLMTokensWarning, match="1 of 3 ids have no content, the first being 'w'"):
        made = LLMTokens.from_frame(users, "{about}", like=tokens)
    assert made.ids == ["u", "v"]
    assert made.text_space == tokens.text_space
    np.testing.assert_allclose(made["v"], tokens.query("Robots in space"), atol=1e-6)
    cosines = made.embeddings.astype(float) @ tokens.embeddings.T.astype(float)
    assert cosines.argmax(axis=1).tolist() == [0, 2]


def test_one_text_takes_the_place_of_all_of_an_items_texts(frame):
    items = LLMTokens.from_frame(
        frame, ["{title}", "{genres}"], numeric=["year"], encoder=HashingEncoder()
    )
    users = pd.DataFrame({"user": ["u", "v"], "about": ["Drama in space", "the sea"]})
    made = LLMTokens.from_frame(users, "{about}", like=items)
    np.testing.assert_allclose(made["u"], items.query("Drama in space"), atol=1e-6)
    np.testing.assert_allclose(made.transform(users), made.vectors, atol=1e-6)


def test_users_like_items_take_one_text_and_the_items_encoder(tokens, frame, tmp_path):
    with pytest.raises(DataError, match="like= beside other columns"):
        LLMTokens.from_frame(frame, "{title}", numeric=["year"], like=tokens)
    with pytest.raises(DataError, match="found the encoder"):
        LLMTokens.from_frame(frame, "{title}", like=tokens, encoder=HashingEncoder(8))
    with pytest.raises(DataError, match="exactly one"):
        LLMTokens.from_frame(frame, "{title}", like=LLMTokens.from_embeddings("ab", np.eye(2)))
    encoder = Recorder()
    LLMTokens.from_frame(frame, "{title}", encoder=encoder).save(tmp_path / "t.safetensors")
    read = LLMTokens.load(tmp_path / "t.safetensors")
    with pytest.raises(OSError, match="recorder"):
        LLMTokens.from_frame(frame, "{title}", like=read)
    assert len(LLMTokens.from_frame(frame, "{title}", like=read, encoder=encoder)) == 5


# -- what users did


@pytest.fixture
def ratings():
    return pd.DataFrame(
        {
            "user": ["u", "u", "u", "v", "v", "w"],
            "item": [10, 20, 30, 40, 99, 99],
            "rating": [5.0, 1.0, 3.0, 4.0, 2.0, 5.0],
            "timestamp": [0, 100, 200, 0, 0, 0],
        }
    )


def test_history_is_the_mean_of_what_was_rated_weighted_by_liking(tokens, ratings):
    users = LLMTokens.from_history(ratings, tokens)
    mean = 20 / 6
    bias = (9 - 3 * mean) / 13
    weight = np.array([5, 1, 3]) - mean - bias
    expected = weight @ tokens.vectors[:3] / np.abs(weight).sum()
    np.testing.assert_allclose(users["u"], expected, rtol=1e-5, atol=1e-7)
    embedding = weight @ tokens.embeddings[:3].astype(float)
    np.testing.assert_allclose(
        users.embeddings[0], embedding / np.linalg.norm(embedding), atol=1e-3
    )
    assert users.text_space == tokens.text_space
    assert users.ids == ["u", "v"]  # nothing is known of what w rated
    assert users.history.tolist() == [3, 1]


def test_old_ratings_count_less_by_half_lives(tokens, ratings):
    clicks = ratings[ratings.user == "u"].drop(columns="rating")
    users = LLMTokens.from_history(clicks, tokens, half_life=100)
    np.testing.assert_allclose(
        users["u"], np.array([1, 2, 4]) @ tokens.vectors[:3] / 7, rtol=1e-5, atol=1e-7
    )


def test_given_weights_take_the_place_of_ratings(tokens, ratings):
    users = LLMTokens.from_history(ratings, tokens, weights=[1, 0, -3, 1, 1, 1])
    expected = (tokens.vectors[0] - 3 * tokens.vectors[2]) / 4
    np.testing.assert_allclose(users["u"], expected, rtol=1e-5, atol=1e-7)
    assert users.history.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("changed", "given", "message"),
    [
        ({"rating": np.nan}, {}, "not all of them finite"),
        ({"user": None}, {}, "without a user"),
        ({"item": 7}, {}, "no rating of an item that has a token"),
        ({}, {"half_life": -1}, "half_life=-1"),
        ({}, {"weights": [1.0]}, "expected 6 finite numbers"),
        ({"rating": "x"}, {}, "no numbers"),
    ],
)
def test_a_history_that_says_nothing_is_refused(tokens, ratings, changed, given, message):
    with pytest.raises(DataError, match=message):
        LLMTokens.from_history(ratings.assign(**changed), tokens, **given)
    with pytest.raises(DataError, match="expected a DataFrame with the columns"):
        LLMTokens.from_history(ratings.drop(columns="item"), tokens)


def test_history_of_a_trainset_is_that_of_its_ratings(tokens, ratings):
    from surprise import Dataset, Reader

    from llmtokens.data.ratings import Ratings

    frame = ratings[["user", "item", "rating"]]
    trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    known = Ratings.from_trainset(trainset)
    users = LLMTokens.from_history(known, tokens)
    np.testing.assert_allclose(
        users.vectors, LLMTokens.from_history(ratings, tokens).vectors, rtol=1e-6, atol=1e-7
    )
    users.require_unseen(known)
    part = Dataset.load_from_df(frame[1:], Reader()).build_full_trainset()
    with pytest.raises(DataError, match="the first being 'u' with 3 ratings in the tokens and 2"):
        users.require_unseen(Ratings.from_trainset(part))
    tokens.require_unseen(Ratings.from_trainset(part))


def test_a_history_is_saved_with_what_it_has_seen(tokens, ratings, tmp_path):
    users = LLMTokens.from_history(ratings, tokens)
    users.save(tmp_path / "users.safetensors")
    read = LLMTokens.load(tmp_path / "users.safetensors")
    assert read.history.tolist() == [3, 1]
    np.testing.assert_array_equal(read.vectors, users.vectors)


# -- columns as people call them


def test_a_title_is_the_label_whatever_its_case_and_one_content_for_all_is_told():
    frame = pd.DataFrame(
        {"item": [1, 2, 3], "Title": ["Emma", "Dune", "It"], "vendor": ["ACME"] * 3}
    )
    tokens = LLMTokens.from_frame(frame, "{Title}", encoder=HashingEncoder())
    assert tokens.labels == ["Emma", "Dune", "It"]
    with pytest.warns(LLMTokensWarning, match="all 3 rows have the same content"):
        LLMTokens.from_frame(frame, "{vendor}", encoder=HashingEncoder())
    with pytest.raises(DataError, match="found a generator; expected a frame"):
        LLMTokens.from_frame((x for x in "abc"), "{Title}", encoder=HashingEncoder())


@pytest.mark.filterwarnings("ignore:all 3 rows have the same content")
@pytest.mark.parametrize("name", ["Book-Title", "movie_title:token_seq", "a b", "x.y", "x[0]", "é"])
def test_a_column_of_any_name_can_be_in_a_template(name):
    frame = pd.DataFrame({"ISBN": ["01", "02", "03"], name: ["Emma", "Dune", "Ulysses"]})
    encoder = Recorder()
    LLMTokens.from_frame(frame, "{ISBN}: {" + name + "}", id="ISBN", encoder=encoder)
    assert encoder.seen == [["01: Emma", "02: Dune", "03: Ulysses"]]
    encoder = Recorder()
    LLMTokens.from_frame(frame, "{{{" + name + ":.2}}}", id="ISBN", encoder=encoder)
    assert encoder.seen == [["{Em}", "{Du}", "{Ul}"]]


# -- what is too large to be dense


@pytest.mark.parametrize("covariance", [0, 4096])
def test_sparse_tokens_are_the_dense_ones_but_for_rounding(monkeypatch, covariance):
    rng = np.random.default_rng(0)
    words = [f"word{k}" for k in range(40)]
    many = pd.DataFrame(
        {
            "item": range(60),
            "title": [" ".join(rng.choice(words, 4)) if k % 7 else "" for k in range(60)],
            "genres": [list(rng.choice(words, k % 4)) for k in range(60)],
            "year": [np.nan if k % 13 == 1 else float(k) for k in range(60)],
        }
    )
    options = {"categorical": "genres", "numeric": "year", "n_components": 10, "whiten": 0.3}
    dense = LLMTokens.from_frame(many, "{title}", encoder=HashingEncoder(64), **options)
    monkeypatch.setattr("llmtokens.tokens.projection._DENSE", 0)
    monkeypatch.setattr("llmtokens.tokens.centred._COVARIANCE", covariance)
    monkeypatch.setattr("llmtokens.tokens.centred._CHUNK", 500)
    thin = LLMTokens.from_frame(many, "{title}", encoder=HashingEncoder(64), **options)
    again = LLMTokens.from_frame(many, "{title}", encoder=HashingEncoder(64), **options)
    np.testing.assert_allclose(thin.vectors, dense.vectors, atol=1e-5)
    np.testing.assert_allclose(thin.mean, dense.mean, atol=1e-12)
    np.testing.assert_allclose(
        thin.explained_variance_ratio, dense.explained_variance_ratio, atol=1e-9
    )
    np.testing.assert_array_equal(thin.embeddings, dense.embeddings)
    np.testing.assert_array_equal(thin.vectors, again.vectors)
    np.testing.assert_allclose(thin.transform(many), thin.vectors, atol=1e-6)


def test_many_labels_take_memory_for_what_is_there():
    import tracemalloc

    n = 20_000
    frame = pd.DataFrame({"item": range(n), "author": [f"A {k // 2}" for k in range(n)]})
    tracemalloc.start()
    tokens = LLMTokens.from_frame(frame, categorical="author", n_components=4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(tokens.projection.blocks[0].vocabulary) == n // 2
    assert peak < 100e6  # dense, it would be 1.6e9
