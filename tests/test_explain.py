import copy
import re

import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make
from scipy import sparse

from llmtokens.algorithms import fold_in
from llmtokens.errors import DataError

ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN = full([row for k, row in enumerate(ROWS) if k % 5])
COLD = [i for i in TOKENS.ids if not TRAIN.knows_item(i)]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_terms_add_up_to_the_prediction(name, fitted):
    algo = fitted(name)
    pairs = [row[:2] for row in ROWS[::50]]
    pairs += [("nobody", 1), (1, "nothing"), ("nobody", "nothing")]
    for uid, iid in pairs:
        why = algo.explain(uid, iid)
        assert sum(why.terms.values()) == pytest.approx(algo.predict(uid, iid).est, abs=1e-6)
        assert why.est == pytest.approx(algo.predict(uid, iid).est, abs=1e-9)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_single_precision_rounds_is_not_called_the_end_of_the_scale(name, fitted):
    algo = fitted(name)
    for uid, iid, _ in ROWS[::50]:
        why = algo.explain(uid, iid)
        if 1.2 < algo.predict(uid, iid, clip=False).est < 4.8:  # where nothing is cut or bent
            assert "end of the rating scale" not in why.terms
            assert sum(why.terms.values()) == pytest.approx(why.est, abs=1e-12)


def test_the_terms_of_a_factor_model_are_its_parameters(fitted):
    algo = fitted("LLMTokensSVD")
    u, i = TRAIN.to_inner_uid(ROWS[1][0]), TRAIN.to_inner_iid(ROWS[1][1])
    terms = algo.explain(*ROWS[1][:2]).terms
    assert terms["mean"] == pytest.approx(TRAIN.global_mean)
    assert terms["user bias"] == pytest.approx(algo.bu[u])
    assert terms["item bias"] == pytest.approx(algo.bi[i])
    assert terms["factors"] == pytest.approx(float(algo.pu[u] @ algo.qi[i]), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "terms", "of_a_stranger"),
    [
        ("LLMTokensEASE", {"mean", "user bias", "choices"}, "popularity"),
        ("LLMTokensContent", {"mean", "user bias", "text", "content"}, "text"),
        ("LLMTokensContent, cosine", {"mean", "user bias", "content"}, "mean"),
    ],
)
def test_every_algorithm_says_what_its_estimates_are_made_of(name, terms, of_a_stranger, fitted):
    why = fitted(name).explain(*ROWS[0][:2])
    assert set(why.terms) - {"end of the rating scale"} == terms
    assert why.terms["mean"] == pytest.approx(TRAIN.global_mean)
    stranger = fitted(name).explain("nobody", ROWS[0][1]).terms
    assert stranger["user bias"] == pytest.approx(0, abs=0.2)
    assert stranger[of_a_stranger] != 0


def test_the_terms_of_implicit_scores_start_at_the_lowest_rating():
    algo = make("LLMTokensEASE", implicit=True).fit(TRAIN)
    terms = algo.explain(*ROWS[0][:2]).terms
    score = algo.model_.rank_scores(algo.users_.rows([ROWS[0][0]]))[
        0, algo.items_.rows([ROWS[0][1]])[0]
    ]
    assert terms["lowest rating"] == 1
    assert terms["choices"] == pytest.approx(4 * score)


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "SVD" in n] + ["LLMTokensContent"])
def test_influence_is_what_leaving_a_rating_out_does(name, fitted):
    algo = fitted(name)
    algo.model_.arrays()
    user = TRAIN.to_inner_uid(ROWS[0][0])
    items, values, weights = algo.ratings_.of_user(user)
    for item in (0, 7, 11):
        influence = algo.model_.influence(user, item)

        def estimate(keep, item=item):
            rated = items[keep], values[keep], weights[keep]
            z = algo.model_.user_entries(user, rated, rated)
            if "SVD" in name:
                return float(np.append(algo.model_.qi[item], 1) @ np.append(z["pu"], z["bu"]))
            return float(z["user_level"] + algo.item_content_[item] @ z["user_taste"])

        whole = np.arange(len(items))
        for k in (0, len(items) // 2, len(items) - 1):
            drop = estimate(whole) - estimate(np.delete(whole, k))
            assert influence[k] == pytest.approx(drop, abs=1e-8)


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if "BPMF" in n])
def test_influence_on_a_mean_of_samples_is_that_of_the_users_row_without_the_rating(name, fitted):
    algo = fitted(name)
    f, user = algo.model_, TRAIN.to_inner_uid(ROWS[0][0])
    items, values, weights = algo.ratings_.of_user(user)
    prior = f.prior("user", np.array([user]))[:, 0]
    every = np.arange(len(items))
    c, k = f.lead.shape[1], f.item_samples.shape[2] - 1
    blur, lead = np.zeros((c + k + 1, c + k + 1)), np.zeros(c + k + 1)
    for item in items:  # whose rows are known up to these covariances
        covariance = np.zeros((k + 1, k + 1))
        covariance[np.triu_indices(k + 1)] = f.item_open[item, 1:-2]
        covariance += np.triu(covariance, 1).T
        alpha = 1 / (f.user_open[user, 0] * f.item_open[item, 0])
        blur[c : c + k, c : c + k] += alpha * covariance[:k, :k]
        lead[c : c + k] += alpha * covariance[:k, k]

    def estimate(item, keep):
        """By the inverse of the posterior precision, sample by sample."""
        total = 0.0
        for s in range(len(prior)):
            q = f.item_samples[items[keep], s].astype(float)
            design = np.column_stack([f.lead[items[keep]], q[:, :-1], np.ones(len(keep))])
            y = (values[keep] - f.mean) / f.std - q[:, -1]
            usual = np.column_stack([f.lead - f.correction.centre, np.ones(len(f.lead))])
            usual = f.text_share * (usual @ f.selection[algo.users_.unknown])
            y = y - usual[items[keep]] - f.newness[user] * f.newcomer_gap[items[keep]]
            alpha = weights[keep] / (f.user_open[user, 0] * f.item_open[items[keep], 0])
            precision = np.linalg.inv(f.user_spread[s].astype(float))
            posterior = precision + (design * alpha[:, None]).T @ design + blur
            right = precision @ prior[s] + design.T @ (alpha * y) - lead
            query = np.concatenate([f.lead[item], f.item_samples[item, s, :-1], [1.0]])
            total += float(query @ np.linalg.solve(posterior, right))
        return f.std * total / len(prior)

    for item in (0, 7, algo.items_.unknown - 1):
        found = algo.model_.influence(user, item)
        whole = estimate(item, every)
        for k in (0, len(items) // 2, len(items) - 1):
            drop = whole - estimate(item, np.delete(every, k))
            assert found[k] == pytest.approx(drop, rel=1e-4, abs=1e-7)
        assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("changes", [{}, {"implicit": True}, {"item_tokens": None}])
@pytest.mark.parametrize("times", [{}, {"timestamps": range(12), "half_life": 5.0}])
def test_influence_in_ease_is_by_how_much_the_estimate_falls_without_the_rating(changes, times):
    algo = make("LLMTokensEASE", **changes).fit(TRAIN)
    mine = [(i, r) for u, i, r in ROWS[1:] if u == ROWS[0][0] and TRAIN.knows_item(i)][:12]
    whole = copy.copy(algo).fold_in("new", mine, **times)
    for iid in (mine[0][0], mine[5][0], COLD[0], ROWS[40][1]):
        rated = whole.explain("new", iid).rated
        found = dict(zip(rated["item"], rated["influence"], strict=True))
        est = whole.predict("new", iid, clip=False).est
        assert np.abs(rated["influence"]).max() > 1e-3
        for k in range(11):
            rest = np.delete(np.arange(12), k)
            # somebody else's: the mean of all ratings stays what it is
            less = copy.copy(algo).fold_in("other", [mine[k]])
            when = {name: rest if name == "timestamps" else value for name, value in times.items()}
            less.fold_in("new", [mine[at] for at in rest], **when)
            drop = est - less.predict("new", iid, clip=False).est
            assert found[mine[k][0]] == pytest.approx(drop, abs=1e-5)


def test_each_of_two_ratings_of_one_item_has_its_own_influence_in_ease():
    twice = [*ROWS[:500], (*ROWS[0][:2], 1.0), (*ROWS[0][:2], 5.0)]
    algo = make("LLMTokensEASE", item_tokens=None).fit(full(twice))
    user, item = 0, 9
    items, values, _ = algo.ratings_.of_user(user)
    low, high = min(r for _, _, r in twice), max(r for _, _, r in twice)
    assert np.sum(items == items[0]) == 3

    def estimate(keep):
        x = np.zeros(algo.items_.n_warm, np.float32)
        for i in set(items[keep]):
            x[i] = np.mean(0.05 + 0.95 * (values[keep][items[keep] == i] - low) / (high - low))
        score = algo.item_weights_.scores(sparse.csr_array(x[None]))[0, item]
        mean = (values[keep].sum() + 5 * algo.ratings_.global_mean) / (len(keep) + 5)
        slope, centre = algo.lines_[0, 0]
        return mean + slope * (score - centre)

    every = np.arange(len(items))
    assert 1.2 < estimate(every) < 4.8  # where nothing is bent
    for k, found in enumerate(algo.model_.influence(user, item)):
        assert found == pytest.approx(estimate(every) - estimate(np.delete(every, k)), abs=1e-5)


def test_the_closed_form_is_a_ridge_regression():
    rng = np.random.default_rng(0)
    design, open_, weights = rng.normal(size=(9, 4)), rng.normal(size=9), rng.random(9) + 0.1
    spread = rng.normal(size=(4, 4))
    covariance = spread @ spread.T
    normal = np.linalg.inv(covariance) + design.T @ (weights[:, None] * design)
    direct = np.linalg.solve(normal, design.T @ (weights * open_))

    def solved(kept):
        x, y, w = design[kept], open_[kept], weights[kept]
        return fold_in.update(x, w, spread, (x, y), w)

    every = np.arange(9)
    np.testing.assert_allclose(solved(every), direct, rtol=1e-8)
    query = rng.normal(size=4)
    brute = [query @ (direct - solved(np.delete(every, k))) for k in every]
    np.testing.assert_allclose(fold_in.influence(design, open_, weights, spread, query), brute)


def test_ratings_that_come_and_go_lead_to_where_all_at_once_would():
    rng = np.random.default_rng(0)
    design, y, weights = rng.normal(size=(9, 4)), rng.normal(size=9), rng.random(9) + 0.1
    spread, old, new = rng.normal(size=(4, 4)), np.arange(6), np.arange(2, 9)

    def at_once(kept):
        x, w = design[kept], weights[kept]
        return fold_in.update(x, w, spread, (x, y[kept]), w)

    z = at_once(old)
    changed = np.append([0, 1], [6, 7, 8])
    signs = np.append([-1, -1], [1, 1, 1])
    news = design[changed], y[changed] - design[changed] @ z
    z = z + fold_in.update(design[new], weights[new], spread, news, signs * weights[changed])
    np.testing.assert_allclose(z, at_once(new), rtol=1e-8)


def test_the_root_of_the_second_moment_is_one():
    rows = np.random.default_rng(1).normal(size=(300, 3)) * [1.0, 0.5, 0.2] + 1
    root = fold_in.root_second_moment(rows)
    np.testing.assert_allclose(root @ root.T, rows.T @ rows / 300, atol=1e-10)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_rated_items_are_listed_the_most_telling_first(name, fitted):
    why = fitted(name).explain(*ROWS[0][:2])
    uid = ROWS[0][0]
    given = {TRAIN.to_raw_iid(i): r for i, r in TRAIN.ur[TRAIN.to_inner_uid(uid)]}
    assert dict(zip(why.rated["item"], why.rated["rating"], strict=True)) == given
    size = why.rated["influence"].abs()
    assert size.isna().all() or (np.diff(size) <= 0).all()
    assert len(fitted(name).explain("nobody", ROWS[0][1]).rated) == 0


def test_nearest_items_are_those_whose_texts_have_the_highest_cosine(fitted):
    nearest = fitted("LLMTokensSVD").explain(ROWS[0][0], TOKENS.ids[3], n=4).nearest
    unit = TOKENS.embeddings.astype(np.float32)
    order = [k for k in np.argsort(-(unit @ unit[3]), kind="stable") if k != 3][:4]
    assert nearest["item"].tolist() == [TOKENS.ids[k] for k in order]
    assert len(fitted("LLMTokensSVD, no tokens").explain(1, 2).nearest) == 0


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_sentence_names_item_estimate_and_mean(name, fitted):
    why = fitted(name).explain(*ROWS[0][:2])
    shown = str(why)
    labelled = fitted(name).item_tokens is not None
    title = DATA.items.set_index("item")["title"][ROWS[0][1]]
    assert shown.startswith(title if labelled else str(ROWS[0][1]))
    assert f"{why.est:.1f}" in shown
    assert f"{TRAIN.global_mean:.1f}" in shown
    assert shown.endswith(".")


@pytest.mark.parametrize("name", ["LLMTokensSVD", "LLMTokensBPMF", "LLMTokensContent"])
def test_the_reason_in_the_sentence_leads_where_the_estimate_is(name, fitted):
    sides = set()
    for uid, iid, _ in ROWS[::5]:
        why = fitted(name).explain(uid, iid)
        said = why.sentence.partition(";")[0]
        reason = re.search(r"mostly for .* \(([+-])", said)
        if abs(why.est - TRAIN.global_mean) < 0.05:
            assert "about the average rating" in said
            assert reason is None
        elif reason:
            side = "above" if why.est > TRAIN.global_mean else "below"
            assert f"{side} the average rating" in said
            assert reason[1] == {"above": "+", "below": "-"}[side]
            sides.add(side)
    assert sides == {"above", "below"}


def test_the_sentence_says_when_the_user_is_unknown(fitted):
    assert "nothing is known of the user" in str(fitted("LLMTokensSVD").explain("nobody", 1))


def test_the_sentence_says_when_the_user_is_known_by_text_alone():
    few = full([row for row in ROWS if row[0] != ROWS[0][0]])
    algo = make("LLMTokensSVD, users").fit(few)
    assert "known by a description alone" in str(algo.explain(ROWS[0][0], 1))


def test_a_model_of_choices_speaks_of_scores_and_choices_not_of_ratings():
    algo = make("LLMTokensEASE", implicit=True).fit(TRAIN)
    said = str(algo.explain(*ROWS[0][:2]))
    assert "has a score of" in said
    assert "raised most by the user's choice of" in said
    assert " rating" not in said


@pytest.mark.parametrize("n", [-1, 0, "x", 2.5])
def test_a_number_of_neighbours_that_is_none_is_refused(fitted, n):
    with pytest.raises(DataError, match=f"found n={n!r}; expected an int of at least 1"):
        fitted("LLMTokensSVD").explain(1, 2, n=n)
