import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, TOKENS, USER_TOKENS, dataset, full
from surprise import SVD, Dataset, Reader, accuracy
from surprise.model_selection import KFold, train_test_split

from llmtokens import LLMTokens, LLMTokensContent, LLMTokensSVD
from llmtokens.algorithms.svd.descent import Blocks
from llmtokens.controls import shuffled
from llmtokens.data.ratings import Ratings
from llmtokens.errors import AlignmentError, DataError
from llmtokens.model_selection import ColdItemKFold, ColdUserKFold, FewShotItemKFold

TRAIN, TEST = train_test_split(DATA.dataset, test_size=0.2, random_state=0)


def rmse(algo, cv, data=DATA.dataset):
    """Mean RMSE over the folds of ``cv``, on the small data set unless another is given."""
    folds = [
        accuracy.rmse(algo.fit(train).test(test), verbose=False) for train, test in cv.split(data)
    ]
    return float(np.mean(folds))


# -- the golden test


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_factors": 7, "n_epochs": 3, "init_mean": 0.1, "init_std_dev": 0.3},
        {"lr_bu": 0.01, "lr_bi": 0.002, "lr_pu": 0.02, "reg_qi": 0.1, "reg_bu": 0.0},
    ],
)
def test_without_tokens_it_is_surprises_svd_to_the_last_bit(biased, parameters):
    theirs = SVD(biased=biased, random_state=4, **parameters).fit(TRAIN)
    ours = LLMTokensSVD(
        biased=biased, shuffle=False, dtype="float64", random_state=4, **parameters
    ).fit(TRAIN)
    for name in ("bu", "bi", "pu", "qi"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    pairs = [*TEST, ("nobody", TEST[0][1], 3.0), (TEST[0][0], "nothing", 3.0), ("?", "??", 3.0)]
    for a, b in zip(ours.test(pairs), theirs.test(pairs), strict=True):
        assert a.est == pytest.approx(b.est, abs=1e-12)
        assert a.details["was_impossible"] == b.details["was_impossible"]


def test_it_takes_every_parameter_of_svd_with_the_same_default():
    import inspect

    theirs = inspect.signature(SVD).parameters
    ours = inspect.signature(LLMTokensSVD).parameters
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default


def test_single_precision_and_shuffling_cost_no_accuracy():
    cv = KFold(5, random_state=0)
    assert rmse(LLMTokensSVD(random_state=0), cv) == pytest.approx(
        rmse(SVD(random_state=0), cv), abs=0.003
    )


# -- what tokens are for


@pytest.mark.parametrize(
    "cv",
    [KFold(5, random_state=0), ColdItemKFold(5, 0), FewShotItemKFold(5, 3, 0)],
    ids=lambda cv: type(cv).__name__,
)
def test_tokens_help_and_shuffled_tokens_do_no_harm(cv):
    real = rmse(LLMTokensSVD(item_tokens=TOKENS, random_state=0), cv)
    shuffle = rmse(LLMTokensSVD(item_tokens=shuffled(TOKENS), random_state=0), cv)
    without = rmse(LLMTokensSVD(random_state=0), cv)
    assert real < shuffle - 0.005
    assert shuffle < without + 0.002


def test_the_attributes_are_the_prediction():
    algo = LLMTokensSVD(item_tokens=TOKENS, random_state=0).fit(TRAIN)
    many = int(np.argmax(algo.ratings_.item_counts))
    raw = algo.trainset.to_raw_iid(many)
    for inner in range(10):
        est = algo.predict(algo.trainset.to_raw_uid(inner), raw, clip=False).est
        plain = algo.trainset.global_mean + algo.bu[inner] + algo.bi[many]
        plain += algo.pu[inner] @ algo.qi[many]
        f, share = algo.model_, 2 / (2 + algo.ratings_.item_counts[many])
        content = np.append(f.lead[many] - f.correction.centre, 1.0)
        plain += share * f.selection[inner] @ content
        plain += f.newness[inner] * f.newcomer_gap[many]
        assert est == pytest.approx(plain, abs=1e-5)


def test_new_users_are_told_that_what_hardly_anybody_rates_is_worse_than_it_seems():
    rng = np.random.RandomState(0)
    stern = rng.rand(60) < 0.3  # who rate what others do not, and rate it low
    rows = [
        (u, int(i), 2.0 + rng.rand() if stern[u] and i >= 40 else 3.0 + rng.rand())
        for u in range(60)
        for i in rng.choice(240 if stern[u] else 40, 30, replace=False)
    ]
    data = Dataset.load_from_df(pd.DataFrame(rows, columns=["u", "i", "r"]), Reader())
    tokens = LLMTokens.from_embeddings(range(240), rng.normal(size=(240, 4)))
    algo = LLMTokensSVD(item_tokens=tokens, random_state=0).fit(data.build_full_trainset())
    model = algo.model_
    alpha, beta = model.newcomers
    assert beta < -0.1
    np.testing.assert_allclose(
        model.newcomer_gap[: algo.trainset.n_items],
        alpha + beta * 10 / (10 + algo.ratings_.item_counts),
    )
    assert model.newness[model.users.unknown] == 1
    np.testing.assert_allclose(model.newness[:60], 2 / (2 + algo.ratings_.user_counts))


def test_a_cold_item_is_predicted_from_its_text():
    train, test = next(ColdItemKFold(5, 0).split(DATA.dataset))
    algo = LLMTokensSVD(item_tokens=TOKENS, random_state=0).fit(train)
    uid, iid, _ = test[0]
    cold = algo.predict(uid, iid)
    assert cold.details["cold_item"]
    twin = LLMTokens.from_embeddings(
        [*TOKENS.ids, "twin"], np.vstack([TOKENS.vectors, TOKENS.vectors[TOKENS.align([iid])]])
    )
    algo = LLMTokensSVD(item_tokens=twin, random_state=0).fit(train)
    assert algo.predict(uid, "twin").est == pytest.approx(algo.predict(uid, iid).est, abs=1e-6)
    assert len({p.est for p in algo.test([(uid, i, None) for i in TOKENS.ids])}) > 50


def test_a_cold_user_is_predicted_from_a_token_that_tells_the_taste():
    trained = SVD(n_factors=4, random_state=0).fit(DATA.dataset.build_full_trainset())
    ids = [trained.trainset.to_raw_uid(u) for u in trained.trainset.all_users()]
    telling = LLMTokens.from_embeddings(ids, np.column_stack([trained.pu, trained.bu * 5]))
    cv = ColdUserKFold(5, random_state=0)
    told = rmse(LLMTokensSVD(item_tokens=TOKENS, user_tokens=telling, random_state=0), cv)
    random = rmse(LLMTokensSVD(item_tokens=TOKENS, user_tokens=USER_TOKENS, random_state=0), cv)
    without = rmse(LLMTokensSVD(item_tokens=TOKENS, random_state=0), cv)
    assert told < without - 0.005
    assert random < without + 0.002


def test_an_item_moves_from_its_text_to_its_ratings_as_they_come():
    liked = [(u, i, 3.0) for u in range(60) for i in TOKENS.ids[:60]]
    iid = TOKENS.ids[70]
    gaps = []
    for n in (1, 5, 40):
        more = [(u, iid, 5.0) for u in range(n)]
        algo = LLMTokensSVD(item_tokens=TOKENS, random_state=0).fit(full(liked + more))
        gaps.append(5 - algo.predict(59, iid).est)
    assert gaps[0] > gaps[1] > gaps[2]


def test_an_item_without_a_token_is_predicted_from_its_ratings():
    train, test = train_test_split(DATA.dataset, test_size=0.2, random_state=1)
    half = LLMTokens.from_embeddings(TOKENS.ids[:60], TOKENS.vectors[:60])
    algo = LLMTokensSVD(item_tokens=half, random_state=0).fit(train)
    without = [row for row in test if row[1] not in set(TOKENS.ids[:60])]
    mean = np.mean([r for _, _, r in train.build_testset()])
    assert accuracy.rmse(algo.test(without), verbose=False) < np.sqrt(
        np.mean([(r - mean) ** 2 for _, _, r in without])
    )


def test_the_anchor_moves_factors_towards_their_seed():
    strong = {"item_tokens": TOKENS, "n_epochs": 5, "reg_all": 5.0, "random_state": 0}
    free = LLMTokensSVD(**strong, anchor=0.0).fit(TRAIN)
    tied = LLMTokensSVD(**strong, anchor=1.0).fit(TRAIN)
    assert np.linalg.norm(tied.qi) > np.linalg.norm(free.qi)


# -- refusing


@pytest.mark.parametrize(
    "bad", [{"dtype": "float16"}, {"n_factors": 0}, {"n_factors": 2.5}, {"n_epochs": -1}]
)
def test_parameters_out_of_range_are_named(bad):
    with pytest.raises(DataError, match=next(iter(bad))):
        LLMTokensSVD(**bad).fit(TRAIN)


def test_a_step_size_that_diverges_is_an_error():
    with pytest.raises(DataError, match="diverged.*lower the learning rates"):
        LLMTokensSVD(item_tokens=TOKENS, lr_all=1e3).fit(TRAIN)


def test_more_factors_than_tokens_and_ids_still_work():
    rows = [(u, i, float(1 + (u + i) % 5)) for u in range(5) for i in TOKENS.ids[:4]]
    algo = LLMTokensSVD(item_tokens=TOKENS, n_factors=200).fit(dataset(rows).build_full_trainset())
    assert algo.qi.shape == (4, 200)


def test_verbose_prints_epochs_as_surprise_does(capsys):
    LLMTokensSVD(n_epochs=2, verbose=True).fit(TRAIN)
    assert capsys.readouterr().out == "Processing epoch 0\nProcessing epoch 1\n"


# -- the text of users


@pytest.fixture(scope="module")
def planted():
    """500 users and 400 items whose tokens, 6 dims each, are their taste and their nature."""
    rng = np.random.RandomState(0)
    taste, nature = rng.normal(size=(500, 6)), rng.normal(size=(400, 6))
    rows = [
        (u, int(i), float(np.clip(3 + 0.4 * taste[u] @ nature[i] + 0.6 * rng.normal(), 1, 5)))
        for u in range(500)
        for i in rng.choice(400, 30, replace=False)
    ]
    data = Dataset.load_from_df(pd.DataFrame(rows, columns=["u", "i", "r"]), Reader())
    of_users = LLMTokens.from_embeddings(range(500), taste)
    return data, LLMTokens.from_embeddings(range(400), nature), of_users


def test_factors_of_users_start_from_their_tokens(planted):
    data, items, users = planted
    start = LLMTokensSVD(items, users, n_epochs=0, random_state=0)
    trainset = data.build_full_trainset()
    pu = start.fit(trainset).pu[:, :6]
    own = users.vectors[users.align(start.users_.ids[: trainset.n_users])]
    design = np.column_stack([own, np.ones(len(own))])
    left = pu - design @ np.linalg.lstsq(design, pu, rcond=None)[0]
    assert left.var() < 1e-6 * pu.var()


def test_tokens_of_users_foretell_what_new_users_rate(planted):
    data, items, users = planted
    cv = ColdUserKFold(5, random_state=0)
    without = rmse(LLMTokensSVD(items, random_state=0), cv, data)
    assert rmse(LLMTokensSVD(items, users, random_state=0), cv, data) < without - 0.25


@pytest.mark.parametrize("cv", [KFold(3, random_state=0), ColdUserKFold(3, random_state=0)])
def test_shuffled_tokens_of_users_are_noticed_and_dropped(planted, cv):
    data, items, users = planted
    trainset, testset = next(cv.split(data))
    with_, without = (
        LLMTokensSVD(items, tokens, random_state=0).fit(trainset).test(testset)
        for tokens in (shuffled(users), None)
    )
    assert [p.est for p in with_] == pytest.approx([p.est for p in without], abs=1e-6)


def test_a_number_of_factors_in_the_place_of_tokens_is_refused_with_what_to_write():
    with pytest.raises(AlignmentError, match="found item_tokens=50.*n_factors=50"):
        LLMTokensSVD(50).fit(TRAIN)


# -- tokens of what users did


@pytest.mark.parametrize(
    "algo",
    [
        LLMTokensSVD(TOKENS, "history", random_state=0),
        LLMTokensContent(TOKENS, user_tokens="history"),
    ],
    ids=lambda algo: type(algo).__name__,
)
def test_history_is_that_of_the_training_ratings_alone(algo):
    cv = KFold(3, random_state=0)
    train, test = next(cv.split(DATA.dataset))
    held = {(u, i) for u, i, _ in test}
    frame = DATA.ratings[["user", "item", "rating"]]
    planted = [  # what is tested would give users away, if it were seen
        (u, i, r if (u, i) not in held else 5.0 if u % 2 else 0.5)
        for u, i, r in frame.itertuples(index=False, name=None)
    ]
    other, _ = next(cv.split(dataset(planted, DATA.rating_scale)))
    plain = [p.est for p in algo.fit(train).test(test)]
    assert [p.est for p in algo.fit(other).test(test)] == pytest.approx(plain, abs=1e-9)


def test_tokens_of_a_history_that_has_seen_the_test_set_are_refused():
    users = LLMTokens.from_history(DATA.ratings, TOKENS)
    train, _ = next(KFold(3, random_state=0).split(DATA.dataset))
    with pytest.raises(DataError, match='seen other ratings.*user_tokens="history"'):
        LLMTokensSVD(TOKENS, users).fit(train)


def test_a_pair_that_is_there_twice_is_learned_twice_in_either_precision():
    rows = DATA.ratings[["user", "item", "rating"]].sample(2000, random_state=0)
    rows = rows.loc[np.repeat(rows.index, 2)]
    train = Dataset.load_from_df(rows, Reader(rating_scale=(0.5, 5))).build_full_trainset()
    single, double = (
        LLMTokensSVD(shuffle=False, dtype=dtype, random_state=0).fit(train)
        for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(single.pu, double.pu, atol=1e-4)
    np.testing.assert_allclose(single.qi, double.qi, atol=1e-4)


def test_an_epoch_visits_every_rating_once_and_what_is_visited_at_once_shares_nothing():
    ratings = Ratings.from_trainset(TRAIN)
    blocks = Blocks(ratings, np.arange(ratings.n), 2)
    seen = []
    for visits in blocks.rounds(np.random.RandomState(0)):
        users = [set(visit.order) for visit in visits]
        items = [set(visit.item[_ratings(visit)]) for visit in visits]
        assert len(visits) == 2
        assert not set.intersection(*users)
        assert not set.intersection(*items)
        for visit in visits:
            at = _ratings(visit)
            seen.extend(visit.value[at])
            np.testing.assert_array_equal(
                blocks.items[visit.item[at]], ratings.item[visit.value[at]]
            )
    assert sorted(seen) == list(range(ratings.n))


def _ratings(visit):
    return np.concatenate([np.arange(*visit.user_ptr[[u, u + 1]]) for u in visit.order])


def test_two_threads_learn_what_one_does_to_the_last_bit(monkeypatch):
    monkeypatch.setattr("llmtokens.algorithms.svd.model._FEW", 1)
    fits = []
    for most in (1, 2):
        monkeypatch.setattr("numba.get_num_threads", lambda most=most: most)
        fits.append(LLMTokensSVD(TOKENS, random_state=0).fit(TRAIN))
    for name in ("bu", "bi", "pu", "qi"):
        np.testing.assert_array_equal(getattr(fits[0], name), getattr(fits[1], name))


@pytest.mark.parametrize("n_factors", [1, 2])
def test_one_factor_is_enough(n_factors):
    algo = LLMTokensSVD(item_tokens=TOKENS, n_factors=n_factors, n_epochs=1, random_state=0)
    assert algo.fit(DATA.dataset.build_full_trainset()).qi.shape[1] == n_factors
