import copy
import re

import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make
from scipy import sparse

from llmtokens.algorithms import fold_in
from llmtokens.algorithms.ease.solver import solve
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
        ("LLMTokensEASE", {"mean", "user bias", "item bias", "choices"}, "popularity"),
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

    others = algo.interactions_[1:]  # the user's scores are by weights that never saw the user
    unseen = solve(others, np.zeros((algo.items_.n_warm, 0), np.float32), 0.0, algo.l2_, 10_000)

    def estimate(keep):
        x = np.zeros(algo.items_.n_warm, np.float32)
        for i in set(items[keep]):
            x[i] = np.mean(0.05 + 0.95 * (values[keep][items[keep] == i] - low) / (high - low))
        score = unseen.scores(sparse.csr_array(x[None]))[0, item]
        mean = (values[keep].sum() + 5 * algo.ratings_.global_mean) / (len(keep) + 5)
        slope, offset = algo.lines_[0]
        return mean + algo.item_level_[item] + slope * score + offset

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


# -- the sentence, read back

WORDS = {
    "how this user rates in general": "user bias",
    "how users of such a description rate": "user bias",
    "how users rate who are not known": "user bias",
    "how others rate it": "item bias",
    "how others rate it and what its text says": "item bias",
    "what its text says": "item bias",
    "how items are rated of which nothing is known": "item bias",
    "what this user has chosen": "choices",
    "how often it is chosen": "popularity",
    "how what is picked differs from what its text says": "selection correction",
    "how new users rate what is rated as often": "new user",
    "the end of the rating scale": "end of the rating scale",
    "how well texts like its are liked": "text",
    "how items without a text are": "text",
}
SUITS = re.compile(
    r"how (it|its text) suits (this user's taste|what this user's description says|users in "
    r"general)"
)
BARE = full([row for k, row in enumerate(ROWS) if k % 5 and row[0] != ROWS[0][0]
             and row[1] not in TOKENS.ids[:2]])  # fmt: skip
KNOWN, DESCRIBED = ROWS[-1][0], ROWS[0][0]
READ = [*ALGORITHMS, "implicit", "rare"]


@pytest.fixture(scope="module")
def read():
    made = {}

    def of(name):
        if name not in made:
            if name == "implicit":
                made[name] = make("LLMTokensEASE", implicit=True).fit(BARE)
            elif name == "rare":  # items with few ratings, users who rated one thing
                rows = [(f"u{k}", 5 + k % 3, 1.0 + k % 5) for k in range(6)] + ROWS[::3]
                made[name] = make("LLMTokensSVD").fit(full(rows))
            else:
                made[name] = make(name).fit(BARE)
        return made[name]

    return of


def pairs(algo):
    mine = algo.ratings_.of_user(algo.users_.row(KNOWN))[0]
    rated = [algo.items_.ids[i] for i in mine[:3]]
    other = [i for i in algo.ratings_.item_ids if i not in set(rated)][:12]
    items = [*rated, *other, *TOKENS.ids[:2], "nothing"]
    return [(u, i) for u in (KNOWN, DESCRIBED, "nobody", ROWS[700][0]) for i in items]


def name_of(algo, iid):
    tokens = algo.item_tokens
    return (
        f'"{tokens.labels[tokens.align([iid])[0]]}"' if tokens and iid in tokens else f"item {iid}"
    )


@pytest.mark.parametrize("name", READ)
def test_every_sentence_is_true(name, read):
    algo = read(name)
    said_of = set()
    for uid, iid in pairs(algo):
        why = algo.explain(uid, iid)
        head, *rest = str(why)[:-1].split("; ")
        assert str(why).endswith(".")
        said_of |= expected_is_true(algo, why, head)
        for clause in rest:
            said_of.add(clause_is_true(algo, why, clause))
        nothing_is_left_out(algo, why, rest)
    assert len(said_of) >= 5  # kinds of things that were said


def expected_is_true(algo, why, head):
    name = name_of(algo, why.iid)
    assert head.startswith(name[0].upper() + name[1:])
    low, high = algo.ratings_.scale
    mean, body = algo.ratings_.global_mean, head[len(name) :]
    if not algo.model_.has_opinions:
        assert body.startswith(f" has a score of {why.est:.2f} on a scale from {low:g} to {high:g}")
        distance, terms = why.est - low, body.partition(f"to {high:g}")[2]
    else:
        distance = why.est - mean
        where = "about"
        if abs(distance) >= 0.05:
            where = f"{abs(distance):.1f} {'above' if distance > 0 else 'below'}"
        start = (
            f" is expected to get {why.est:.1f} on a scale from {low:g} to {high:g}, {where} the "
            f"average rating of {mean:.1f}"
        )
        assert body.startswith(start)
        terms = body[len(start) :]
    return terms_are_true(algo, why, terms, distance)


def terms_are_true(algo, why, said, distance):
    named = re.findall(r"(, mostly for |, in spite of |, with | and )(.*?) \(([+-]\d+\.\d)\)", said)
    assert "".join(f"{a}{b} ({c})" for a, b, c in named) == said
    parts = {k: x for k, x in why.terms.items() if k not in ("mean", "lowest rating", "estimate")}
    for link, words, value in named:
        term = WORDS.get(words)
        if term is None:
            assert SUITS.fullmatch(words)
            same = [k for k in ("content", "factors") if f"{parts.get(k, 0):+.1f}" == value]
            term = max(same, key=lambda k: abs(parts[k]))
        assert f"{parts[term]:+.1f}" == value
        sign = 1 if value[0] == "+" else -1
        assert sign * parts[term] == pytest.approx(max(sign * x for x in parts.values()))
        if abs(distance) >= 0.05:
            assert (link == ", mostly for ") == (sign * distance > 0)
        words_are_true(algo, why, words)
    large = {np.sign(x) for x in parts.values() if abs(x) >= 0.05}
    assert large == {1 if value[0] == "+" else -1 for *_, value in named}
    return {words for _, words, _ in named}


def words_are_true(algo, why, words):
    user, item = algo.users_.row(why.uid), algo.items_.row(why.iid)
    others = sum(u != user for u in algo.ratings_.of_item(item)[0])
    if "this user" in words and "description" not in words:
        assert why.basis == "ratings"
    if "not known" in words or ("in general" in words and "this user" not in words):
        assert why.basis == "popular"
    if "others rate it" in words:
        assert others > 0
    if "its text" in words and "picked" not in words:
        assert algo.items_.has_token[item]
    if "nothing is known" in words:
        assert others == 0


def clause_is_true(algo, why, clause):
    user, item = algo.users_.row(why.uid), algo.items_.row(why.iid)
    items, values, _ = algo.ratings_.of_user(user)
    if clause.startswith("the user is unknown"):
        assert user == algo.users_.unknown
        assert why.basis == "popular"
        return "unknown user"
    if clause.startswith("the user is known by a description alone"):
        assert algo.users_.has_token[user]
        assert user >= algo.users_.n_warm
        assert ("makes nothing" in clause) == (why.basis == "popular")
        return "described"
    if clause.startswith("the item is unknown"):
        assert item == algo.items_.unknown
        return "unknown item"
    if clause.startswith("nobody has"):
        assert algo.items_.n_warm <= item < algo.items_.unknown
        return "cold"
    if clause.startswith(("the user has rated it already", "the user has chosen it already")):
        assert item in items
        if "rated" in clause:
            assert re.search(r"\((.*)\)", clause)[1] == f"{values[items == item][0]:g}"
        return "seen"
    verb, sign = ("raised", 1) if clause.startswith("raised") else ("lowered", -1)
    assert clause.startswith(verb)
    of = why.rated.set_index("item")
    loudest = of[sign * of["influence"] > 0.005 * np.ptp(algo.ratings_.scale)].index[:2]
    names = {name_of(algo, iid): iid for iid in of.index}
    found = [iid for name, iid in names.items() if name + " " in clause.replace(",", " ") + " "]
    assert found
    assert set(found) <= set(loudest)
    low, high = algo.ratings_.scale
    for iid in found:
        rating = of["rating"][iid]
        if algo.model_.has_opinions:
            assert f"({rating:g})" in clause
        if "unlike" in clause:
            assert sign * (rating - (low + high) / 2) < 0
            assert sign * (rating - of["rating"].mean()) < 0
            own = algo.explain(why.uid, iid).rated.set_index("item")["influence"][iid]
            assert sign * own < 0
    return "unlike" if "unlike" in clause else verb


def nothing_is_left_out(algo, why, clauses):
    user, item = algo.users_.row(why.uid), algo.items_.row(why.iid)
    text = "; ".join(clauses)
    if user == algo.users_.unknown:
        assert "the user is unknown" in text
    if item == algo.items_.unknown:
        assert "the item is unknown" in text
    elif item >= algo.items_.n_warm:
        assert "nobody has" in text
    elif item in algo.ratings_.of_user(user)[0]:
        assert "already" in text
    for sign, verb in ((1, "raised"), (-1, "lowered")):
        loud = sign * why.rated["influence"] > 0.005 * np.ptp(algo.ratings_.scale)
        assert (verb in text) == bool(loud.any())


def test_a_rating_that_speaks_for_an_item_by_being_low_is_of_something_unlike():
    rng = np.random.default_rng(0)  # half like the one kind, half the other
    rows = [
        (u, i, float(np.clip((4 if i % 2 == u % 2 else 2) + rng.integers(-1, 2), 1, 5)))
        for u in range(80)
        for i in range(20)
        if rng.random() < 0.35
    ]
    algo = make("LLMTokensBPMF, no tokens").fit(full(rows))
    found = {"raised": [], "lowered": []}
    for u in range(12):
        for i in range(10):
            for clause in str(algo.explain(u, i)).split("; "):
                if "unlike" in clause:
                    kinds = {int(k) % 2 == i % 2 for k in re.findall(r"item (\d+),", clause)}
                    found[clause.split(" ")[0]].append(kinds)
    assert np.mean([kinds == {False} for kinds in found["raised"]]) > 0.8
    assert np.mean([kinds == {False} for kinds in found["lowered"]]) > 0.8


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
