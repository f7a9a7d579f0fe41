import copy

import numba
import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, TOKENS, USER_TOKENS, full
from faults import spoil_samples
from geweke import (
    expectations,
    fresh,
    pairs_of,
    scores,
    scores_of_one_move,
    shared,
    small_sampler,
    sums,
    the_users,
)
from surprise import SVD, BaselineOnly, Dataset, Reader, accuracy
from surprise.model_selection import KFold, train_test_split

from llmtokens import HashingEncoder, LLMTokens
from llmtokens.algorithms.bpmf import LLMTokensBPMF, chain
from llmtokens.algorithms.bpmf.conditional import conditional
from llmtokens.algorithms.bpmf.features import TextFeatures
from llmtokens.algorithms.bpmf.priors import FeatureSums, Moments, TokenPrior
from llmtokens.algorithms.bpmf.reproducible import Purpose, stream
from llmtokens.algorithms.bpmf.sampler import Sampler
from llmtokens.algorithms.bpmf.shards import Shards, find_links
from llmtokens.controls import shuffled
from llmtokens.data.ratings import Ratings
from llmtokens.datasets import load_movielens, synthetic
from llmtokens.errors import DataError, LLMTokensWarning
from llmtokens.model_selection import ColdItemKFold, ColdUserKFold

TRAIN, TEST = train_test_split(DATA.dataset, test_size=0.2, random_state=0)
SHORT = {"n_factors": 3, "n_content": 4, "n_samples": 10, "burn_in": 5, "random_state": 0}


def rmse(algo, cv, data=DATA):
    """Mean RMSE over the folds of ``cv``."""
    folds = [
        accuracy.rmse(algo.fit(train).test(test), verbose=False)
        for train, test in cv.split(data.dataset)
    ]
    return float(np.mean(folds))


@pytest.fixture(scope="module")
def fitted():
    return LLMTokensBPMF(TOKENS, USER_TOKENS, **SHORT).fit(TRAIN)


# -- without tokens: BPMF as published, written down once more


def wishart(rng, dof, inverse_scale):
    """The Bartlett decomposition, from one normal matrix and one vector of chi squares."""
    k = len(inverse_scale)
    a = np.tril(rng.standard_normal((k, k)), -1)
    a += np.diag(np.sqrt(rng.chisquare(dof - np.arange(k))))
    half = np.linalg.inv(np.linalg.cholesky(inverse_scale)).T @ a
    return half @ half.T


def hyperprior(rng, rows):
    """Salakhutdinov & Mnih 2008, eq. 14, with W0 = I, nu0 = k, beta0 = 2, mu0 = 0."""
    n, k = rows.shape
    mean, cov = rows.mean(0), np.cov(rows.T, bias=True).reshape(k, k)
    inverse_scale = np.eye(k) + n * cov + 2 * n / (2 + n) * np.outer(mean, mean)
    precision = wishart(rng, k + n, inverse_scale)
    root = np.linalg.cholesky(np.linalg.inv((2 + n) * precision).round(30))
    upper = np.linalg.inv(np.linalg.cholesky((2 + n) * precision)).T
    assert np.allclose(root @ root.T, upper @ upper.T)
    return n * mean / (2 + n) + upper @ rng.standard_normal(k), precision


def one_side(normals, mine, theirs, y, others, alpha, prior):
    """Rows of one side, each from its Gaussian conditional (eq. 11 to 13)."""
    m, precision = prior
    rows, means = np.zeros_like(normals), np.zeros_like(normals)
    for r in range(len(normals)):
        at = mine == r
        design = np.column_stack([others[theirs[at], :-1], np.ones(at.sum())])
        a = precision + alpha * design.T @ design
        b = precision @ m + alpha * design.T @ (y[at] - others[theirs[at], -1])
        means[r] = np.linalg.solve(a, b)
        rows[r] = means[r] + np.linalg.solve(np.linalg.cholesky(a).T, normals[r])
    return rows, means


def numpy_bpmf(trainset, k, seed, sweeps, burn_in):
    u, i, y = (np.array(x) for x in zip(*trainset.all_ratings(), strict=True))
    mu, sd = y.mean(), y.std()
    y = (y - mu) / sd
    n_users, n_items = trainset.n_users, trainset.n_items
    seed = np.random.RandomState(seed).randint(2**31 - 1)
    Q = np.zeros((n_items, k + 1))
    Q[:, :k] = stream(seed, 0, Purpose.START).standard_normal((n_items, k)) * 0.1
    of_users = of_items = np.zeros(k + 1), np.eye(k + 1)
    alpha, made, noise = 1.0, [], []
    for sweep in range(sweeps):
        rng = stream(seed, sweep, Purpose.ITEMS)
        normals = stream(seed, sweep, Purpose.USERS, 0).standard_normal((n_users, k + 1))
        V, _ = one_side(normals, u, i, y, Q, alpha, of_users)
        of_users = hyperprior(rng, V)
        Q, Q_mean = one_side(rng.standard_normal(Q.shape), i, u, y, V, alpha, of_items)
        error = y - np.sum(V[u, :k] * Q[i, :k], axis=1) - V[u, k] - Q[i, k]
        alpha = rng.gamma(1 + len(y) / 2) / (1 + np.sum(error**2) / 2)
        of_items = hyperprior(rng, Q)
        if sweep >= burn_in and (sweep - burn_in) % 3 == 0:
            made.append(V[:, :k] @ Q_mean[:, :k].T + V[:, k:] + Q_mean[:, k])
            noise.append(1 / alpha)
    return mu + sd * np.mean(made, axis=0), sd * np.sqrt(np.mean(noise))


def test_without_tokens_it_is_bpmf():
    est, noise = numpy_bpmf(TRAIN, 3, 5, 15, 5)
    algo = LLMTokensBPMF(n_factors=3, n_samples=10, burn_in=5, random_state=5).fit(TRAIN)
    for u in range(0, TRAIN.n_users, 7):
        for i in range(TRAIN.n_items):
            raw = TRAIN.to_raw_uid(u), TRAIN.to_raw_iid(i)
            prediction = algo.predict(*raw, clip=False)
            assert prediction.est == pytest.approx(est[u, i], abs=1e-5)
            assert prediction.details["std"] > noise


def test_without_tokens_a_stranger_gets_the_means_of_the_priors():
    algo = LLMTokensBPMF(n_factors=3, n_samples=60, burn_in=10, random_state=0).fit(TRAIN)
    stranger = algo.predict("nobody", "nothing")
    assert stranger.est == pytest.approx(TRAIN.global_mean, abs=0.3)
    known = algo.predict(TRAIN.to_raw_uid(0), TRAIN.to_raw_iid(0))
    assert stranger.details["std"] > known.details["std"]


# -- the sampler


@pytest.fixture
def one_thread():
    """Threads would only wait for each other where there is nothing to do."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("timed", "n"), [(False, 6_000), (True, 12_000)])
def test_geweke_the_sampler_leaves_the_joint_distribution_as_it_is(timed, n):
    z = scores(n, 0, timed)
    assert np.sqrt(np.mean(z**2)) < 1.5
    assert np.abs(z).max() < 4


def interweave(chain, rng):
    aa, ae, *_ = shared(chain)
    chain._interweave(rng, aa, ae + aa)


def rescale_content(chain, rng):
    columns, (_, _, ll, le, _) = slice(chain.size.n_content), shared(chain)
    the_users(chain).V[:, columns] *= chain._rescale_users(rng, columns, ll, le + ll)


def rescale_factors(chain, rng):
    products = sums(chain)
    the_users(chain).V[:, chain.size.n_content : -1] *= chain._rescale_factors(rng, products)
    np.testing.assert_allclose(products, sums(chain))


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("move", [interweave, rescale_content, rescale_factors])
def test_moves_of_scale_leave_the_joint_distribution_as_it_is(move):
    rng = np.random.default_rng(1)
    z = scores_of_one_move(lambda chain: move(chain, rng), 2000, seed=0, precision=30.0)
    assert len(z) > 4
    assert np.abs(z).max() < 4


@pytest.mark.usefixtures("one_thread")
def test_moves_of_scale_go_by_sums_over_all_ratings():
    rng = np.random.default_rng(0)
    chain = small_sampler(rng)
    fresh(chain, rng)
    (u, i), users = pairs_of(chain), the_users(chain)
    for _ in range(2):  # before a move, and after it
        expected, lead = expectations(chain)
        p = np.column_stack([users.V[u, chain.size.n_content : -1], np.ones(len(u))])
        along, error = np.sum(chain.item_prior.fit[i] * p, axis=1), users.rated.y - expected
        weights = users.alpha[u] * chain.item_alpha[i]
        pairs = [(along, along), (along, error), (lead, lead), (lead, error), (lead, along)]
        direct = [np.sum(weights * a * b) for a, b in pairs]
        np.testing.assert_allclose(shared(chain), direct)
        factor = chain._interweave(rng, direct[0], direct[1] + direct[0])
        assert shared(chain)[3] == pytest.approx(direct[3] + (1 - factor) * direct[4])


def generated(n_users=250, n_items=150, k=2, noise=0.5, share=0.5, seed=0):
    """Ratings that the model is true of, and tokens that tell the items' factors."""
    rng = np.random.default_rng(seed)
    t = rng.standard_normal((n_items, 6))
    q = t[:, :k] * 0.8 + 0.3 * rng.standard_normal((n_items, k))
    bi = 0.5 * t[:, k] + 0.2 * rng.standard_normal(n_items)
    p, bu = rng.standard_normal((n_users, k)), 0.4 * rng.standard_normal(n_users)
    mean = 3 + p @ q.T + bu[:, None] + bi
    u, i = np.nonzero(rng.random((n_users, n_items)) < share)
    frame = pd.DataFrame(
        {"user": u, "item": i, "r": mean[u, i] + noise * rng.standard_normal(len(u))}
    )
    tokens = LLMTokens.from_embeddings(list(range(n_items)), t)
    return Dataset.load_from_df(frame, Reader(rating_scale=(-20, 20))), tokens


@pytest.mark.parametrize("with_tokens", [False, True])
def test_planted_factors_are_found_and_intervals_cover_what_they_say(with_tokens):
    data, tokens = generated()
    train, test = train_test_split(data, test_size=0.3, random_state=0)
    algo = LLMTokensBPMF(
        tokens if with_tokens else None, n_factors=4, n_content=2, n_samples=90, random_state=0
    )
    found = algo.fit(train).test(test)
    errors = np.array([p.r_ui - p.est for p in found])
    assert np.sqrt(np.mean(errors**2)) < 0.5 * 1.1
    z = np.abs(errors) / [p.details["std"] for p in found]
    assert np.mean(z < 1.2816) == pytest.approx(0.8, abs=0.03)


def test_intervals_of_cold_items_cover_what_they_say():
    data, tokens = generated(seed=3)
    algo = LLMTokensBPMF(tokens, n_factors=4, n_content=2, n_samples=60, random_state=0)
    z = []
    for train, test in ColdItemKFold(3, random_state=0).split(data):
        z += [abs(p.r_ui - p.est) / p.details["std"] for p in algo.fit(train).test(test)]
    assert np.mean(np.array(z) < 1.2816) == pytest.approx(0.8, abs=0.05)


@pytest.mark.slow
def test_tokens_help_and_shuffled_tokens_do_no_harm():
    data = synthetic(n_users=150, n_items=400, n_ratings=9000, random_state=1)
    tokens = LLMTokens.from_frame(
        data.items, "{description}", categorical=["genres"], encoder=HashingEncoder(),
        n_components=24,
    )  # fmt: skip
    small = {"n_factors": 4, "n_samples": 60, "random_state": 0}
    for cv in (KFold(3, random_state=0), ColdItemKFold(3, random_state=0)):
        real, other, without = (
            rmse(LLMTokensBPMF(made, **small), cv, data)
            for made in (tokens, shuffled(tokens), None)
        )
        assert real < other - 0.005
        assert other < without + 0.006


def test_user_tokens_tell_about_new_users():
    trained = SVD(n_factors=4, random_state=0).fit(DATA.dataset.build_full_trainset())
    ids = [trained.trainset.to_raw_uid(u) for u in trained.trainset.all_users()]
    telling = LLMTokens.from_embeddings(ids, np.column_stack([trained.pu, trained.bu * 5]))
    small, cv = {"n_factors": 4, "n_samples": 40, "random_state": 0}, ColdUserKFold(5, 0)
    told = rmse(LLMTokensBPMF(TOKENS, telling, **small), cv)
    random = rmse(LLMTokensBPMF(TOKENS, USER_TOKENS, **small), cv)
    without = rmse(LLMTokensBPMF(TOKENS, **small), cv)
    assert told < without - 0.005
    assert random < without + 0.004


# -- fitting


def test_any_number_of_threads_gives_the_same_and_numba_keeps_its_own():
    before = numba.get_num_threads()
    one, many = (LLMTokensBPMF(TOKENS, n_threads=n, **SHORT).fit(TRAIN) for n in (1, 64))
    assert numba.get_num_threads() == before
    for name, array in one.model_.arrays().items():
        np.testing.assert_array_equal(array, many.model_.arrays()[name])


def interrupting(monkeypatch, after):
    swept, sweep = [], Sampler.sweep

    def stop(self):
        swept.append(1)
        if len(swept) > after:
            raise KeyboardInterrupt
        sweep(self)

    monkeypatch.setattr(Sampler, "sweep", stop)


def test_an_interrupt_keeps_the_samples_drawn_so_far(monkeypatch):
    whole = LLMTokensBPMF(TOKENS, **SHORT | {"n_samples": 4}).fit(TRAIN)
    interrupting(monkeypatch, after=9)
    algo = LLMTokensBPMF(TOKENS, **SHORT)
    with pytest.warns(LLMTokensWarning, match="interrupted after 9 of 15 sweeps.*2 samples"):
        algo.fit(TRAIN)
    assert [p.est for p in algo.test(TEST)] == [p.est for p in whole.test(TEST)]


def test_an_interrupt_before_the_first_sample_changes_nothing(monkeypatch):
    algo = LLMTokensBPMF(TOKENS, **SHORT).fit(TRAIN)
    before = [p.est for p in algo.test(TEST)]
    interrupting(monkeypatch, after=5)
    with pytest.raises(KeyboardInterrupt):
        algo.fit(TRAIN)
    assert [p.est for p in algo.test(TEST)] == before


def test_verbose_prints_sweeps(capsys):
    LLMTokensBPMF(n_samples=2, burn_in=1, verbose=True, random_state=0).fit(TRAIN)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("Processing sweep 0: RMSE ")


@pytest.mark.parametrize(
    "bad",
    [{"n_factors": 0}, {"n_content": -1}, {"n_samples": 2.5}, {"burn_in": True}, {"n_threads": 0}],
)
def test_parameters_out_of_range_are_named(bad):
    with pytest.raises(DataError, match=next(iter(bad))):
        LLMTokensBPMF(**bad).fit(TRAIN)


def test_a_large_posterior_keeps_fewer_samples(monkeypatch):
    algo = LLMTokensBPMF(TOKENS, **SHORT | {"n_samples": 60})
    assert algo.fit(TRAIN).model_.user_samples.shape[1] == 20
    monkeypatch.setattr(chain, "BUDGET", algo.model_.user_samples.nbytes)
    assert 10 <= algo.fit(TRAIN).model_.user_samples.shape[1] < 20


def links_of(trainset):
    ratings = Ratings.from_trainset(trainset)
    none = np.zeros((max(ratings.n_users, ratings.n_items), 0), np.float32)
    team = Shards.of(ratings, 1.0, none, none[: ratings.n_items], 1, seed=0)
    return find_links(team), team.shards[0].links


def test_pairs_rated_twice_are_one_link():
    once = [(u, i, 3.0) for u in range(4) for i in range(3) if u != i]
    (a, of_a), (b, of_b) = (links_of(full(rows)) for rows in (once, once + once[:2]))
    for x, y in zip((*a, of_a.ptr), (*b, of_b.ptr), strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(
        np.split(of_a.item, of_a.ptr[1:]), np.split(of_b.item, of_b.ptr[1:]), strict=True
    ):
        assert sorted(x) == sorted(y)


def test_where_everybody_rated_everything_there_are_no_links():
    assert links_of(full([(u, i, 3.0) for u in range(4) for i in range(3)]))[0] is None


def test_links_have_mean_square_norm_one():
    links, own = links_of(TRAIN)
    met = np.zeros((TRAIN.n_items, TRAIN.n_users))
    met[own.item, np.repeat(np.arange(TRAIN.n_users), np.diff(own.ptr))] = 1
    share = met.sum(axis=0) / met.sum()
    dense = links.scale[:, None] * (met - np.outer(links.n_raters, share))
    assert np.mean(np.sum(dense**2, axis=1)) == pytest.approx(1)


def test_text_features_are_centred_and_of_unit_size():
    made = TextFeatures.of(TOKENS.vectors)(TOKENS.vectors)
    assert made.shape == (len(TOKENS), 24 + 16 * 17 // 2)
    assert np.mean(made**2) == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(made.mean(axis=0), 0, atol=1e-4)


# -- predicting


def test_lists_are_sorted_by_the_estimates(fitted):
    items = np.arange(fitted.items_.n_rows)
    users = np.array([0, 5, fitted.users_.unknown])
    for row, made in zip(users, fitted.model_.rank_scores(users), strict=True):
        np.testing.assert_allclose(
            made, fitted.model_.score(np.full(len(items), row), items)[0], atol=1e-4
        )


def test_the_terms_add_up(fitted):
    for user, item in [(0, 0), (3, fitted.items_.n_warm), (fitted.users_.unknown, 4)]:
        est = fitted.model_.score(np.array([user]), np.array([item]))[0][0]
        assert sum(fitted.model_.terms(user, item).values()) == pytest.approx(est, abs=1e-5)


def test_what_is_less_known_has_a_larger_standard_deviation(fitted):
    known = fitted.predict(*TEST[0][:2]).details["std"]
    assert known < fitted.predict(TEST[0][0], "nothing").details["std"]
    assert known < fitted.predict("nobody", TEST[0][1]).details["std"]


# -- newcomers


def test_the_conditional_of_a_newcomer_is_the_textbooks():
    rng = np.random.default_rng(0)
    design, open_ = rng.standard_normal((1, 7, 3)), rng.standard_normal((1, 7))
    precision, prior = rng.gamma(2, 1, 7), rng.standard_normal((1, 3))
    root = rng.standard_normal((3, 3))
    spread = (root @ root.T)[None]
    mean, left = conditional(design, open_, precision, prior, spread, None)
    d, inverse = design[0], np.linalg.inv(spread[0])
    a = inverse + d.T @ (precision[:, None] * d)
    expected = np.linalg.solve(a, inverse @ prior[0] + d.T @ (precision * open_[0]))
    np.testing.assert_allclose(mean[0], expected)
    np.testing.assert_allclose(left[0], np.linalg.inv(a), atol=1e-9)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_newcomer_is_drawn_with_the_covariance_of_the_conditional(rank):
    rng = np.random.default_rng(1)
    design, open_ = rng.standard_normal((1, 7, 3)), rng.standard_normal((1, 7))
    precision, prior = rng.gamma(2, 1, 7), rng.standard_normal((1, 3))
    root = rng.standard_normal((3, rank))
    given = design, open_, precision, prior, (root @ root.T)[None]
    mean, left = conditional(*given, None)
    moved = np.vstack([conditional(*given, unit[None])[0] - mean for unit in np.eye(3)])
    np.testing.assert_allclose(moved.T @ moved, left[0], atol=1e-7)
    inner = np.eye(rank) + root.T @ design[0].T @ (precision[:, None] * design[0]) @ root
    np.testing.assert_allclose(left[0], root @ np.linalg.inv(inner) @ root.T, atol=1e-9)


def test_the_means_of_the_samples_follow_what_is_folded_in(fitted):
    algo = copy.copy(fitted)
    before = algo.pu, algo.bu, algo.qi, algo.bi
    algo.fold_in("new", {TRAIN.to_raw_iid(i): 5.0 for i in range(9)})
    for old, new in zip(before, (algo.pu, algo.bu, algo.qi, algo.bi), strict=True):
        np.testing.assert_array_equal(new[: len(old)], old)
    std, row = algo.model_.std, int(algo.users_.rows(["new"])[0])
    drawn = std * algo.model_.user_samples[row].astype(float).mean(axis=0)
    np.testing.assert_allclose([*algo.pu[row], algo.bu[row]], drawn[4:], atol=1e-5)
    assert len(algo.pu) == len(algo.bu) == TRAIN.n_users + 1
    assert algo.bu is algo.bu


def test_samples_that_are_no_numbers_are_no_model(monkeypatch):
    spoil_samples(monkeypatch)
    with pytest.raises(DataError, match="training diverged: qi"):
        LLMTokensBPMF(**SHORT).fit(TRAIN)


def test_a_user_folded_in_is_predicted_almost_as_after_a_refit():
    ids = sorted(DATA.ratings["user"].unique())[:8]
    rows = [tuple(r) for r in DATA.ratings[["user", "item", "rating"]].itertuples(index=False)]
    rng = np.random.default_rng(0)
    given = [row for row in rows if row[0] in ids and rng.random() < 0.7]
    asked = [row for row in rows if row[0] in ids and row not in set(given)]
    others = [row for row in rows if row[0] not in ids]
    small = {"n_factors": 4, "n_samples": 90, "random_state": 0}
    algo = LLMTokensBPMF(TOKENS, **small).fit(full(others))
    cold = accuracy.rmse(algo.test(asked), verbose=False)
    for uid in ids:
        algo.fold_in(uid, [row[1:] for row in given if row[0] == uid])
    folded = accuracy.rmse(algo.test(asked), verbose=False)
    refit = LLMTokensBPMF(TOKENS, **small).fit(full(others + given))
    assert folded < cold - 0.02
    assert folded == pytest.approx(accuracy.rmse(refit.test(asked), verbose=False), abs=0.03)


def test_an_item_folded_in_moves_from_its_text_to_its_ratings(fitted):
    algo = copy.deepcopy(fitted)
    cold = algo.predict(TRAIN.to_raw_uid(0), "new").est
    raters = [TRAIN.to_raw_uid(u) for u in range(1, 40)]
    algo.fold_in_item(
        "new", content=DATA.items.iloc[0].to_dict(), ratings=[(uid, 5.0) for uid in raters]
    )
    assert algo.predict(TRAIN.to_raw_uid(0), "new").est > cold + 0.3


def test_a_saved_model_predicts_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "bpmf.safetensors")
    again = LLMTokensBPMF.load(tmp_path / "bpmf.safetensors")
    pairs = [*TEST[:50], ("nobody", "nothing", None)]
    for a, b in zip(fitted.test(pairs), again.test(pairs), strict=True):
        assert a.est == b.est
        assert a.details["std"] == b.details["std"]


def test_features_that_say_nothing_leave_the_others_as_they_were():
    rng = np.random.default_rng(0)
    useful, idle = rng.standard_normal((300, 3)), rng.standard_normal((300, 60))
    true = useful @ rng.standard_normal((3, 4))
    rows = true + 0.5 * rng.standard_normal(true.shape)
    features = np.hstack([idle, useful]).astype(np.float32)
    errors, strengths = {}, {}
    for n_first in (60, 0):
        prior = TokenPrior(4, FeatureSums.of(features), n_first=n_first)
        moments, kept = Moments.of(rows, features), []
        for _ in range(300):
            prior.learn(rng, moments)
            kept.append((prior.m + features @ prior.B, prior.strength.copy()))
        means, drawn = zip(*kept[100:], strict=True)
        errors[n_first] = float(np.sqrt(np.mean((np.mean(means, axis=0) - true) ** 2)))
        strengths[n_first] = np.median(drawn, axis=0)
    assert strengths[60][0] > 100 * strengths[60][-1]
    assert errors[60] < 0.5 * errors[0]


def test_the_weight_on_pairs_of_texts_is_found_from_few_users():
    rng = np.random.default_rng(0)
    tokens, k, w = rng.standard_normal((40, 30)).astype(np.float32), 32, 0.8
    true = np.hstack([w * tokens, np.zeros((40, 2))])
    rows = true + rng.standard_normal(true.shape)
    errors, weights = {}, {}
    for name, features, n_shared in (
        ("none", tokens, 0),
        ("one space", tokens, 30),
        ("shuffled", tokens[rng.permutation(40)], 30),
    ):
        prior, moments, kept = (
            TokenPrior(k, FeatureSums.of(features), n_shared=n_shared),
            Moments.of(rows, features),
            [],
        )
        for _ in range(300):
            prior.learn(rng, moments)
            kept.append((prior.m + features @ prior.B, prior.pair_weight))
        means, drawn = zip(*kept[100:], strict=True)
        errors[name] = float(np.sqrt(np.mean((np.mean(means, axis=0) - true) ** 2)))
        weights[name] = np.mean(drawn), np.std(drawn)
    assert weights["one space"][0] == pytest.approx(w, abs=0.15)
    assert abs(weights["shuffled"][0]) < 3 * weights["shuffled"][1]
    assert errors["one space"] < 0.6 * errors["none"]


def test_where_nearly_all_ratings_are_the_highest_it_is_better_than_baselines(ml_small_folder):
    data = load_movielens(ml_small_folder)
    some = np.random.default_rng(0).choice(data.ratings["user"].unique(), 70, replace=False)
    frame = data.ratings[data.ratings["user"].isin(some)]
    skewed = frame["rating"].map(lambda r: 5 if r >= 3 else 3 if r >= 2.5 else 1)
    ratings = frame[["user", "item"]].assign(rating=skewed)
    made = Dataset.load_from_df(ratings, Reader(rating_scale=(1, 5)))
    train, test = train_test_split(made, test_size=0.25, random_state=0)
    assert np.mean([r == 5 for _, _, r in test]) > 0.75
    tokens = LLMTokens.from_frame(data.items, "{title} {genres}", encoder=HashingEncoder())
    ours = LLMTokensBPMF(tokens, n_samples=60, burn_in=30, random_state=0).fit(train)
    theirs = BaselineOnly(verbose=False).fit(train)
    error, baseline = (accuracy.rmse(algo.test(test), verbose=False) for algo in (ours, theirs))
    assert error < 0.99 * baseline
