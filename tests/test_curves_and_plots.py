"""Learning curves of algorithms whose errors are known, and figures that show what they should."""

from __future__ import annotations

import sys
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from surprise import Prediction

from llmtokens import plots
from llmtokens.compare import Comparison
from llmtokens.controls import UserMean
from llmtokens.curves import LearningCurve, learning_curve
from llmtokens.datasets import synthetic
from llmtokens.errors import DataError, MissingExtraError
from llmtokens.plots.style import PALETTE, styles

HOSTILE = "_a $x$ <b>"


@pytest.fixture(scope="module")
def comparison():
    """Two algorithms on three folds of one split; the first is off by exactly 1, with std 1."""
    rng = np.random.default_rng(0)
    table, parts = [], []
    for name, off in [("one", 1.0), (HOSTILE, 0.5)]:
        for fold in (1, 2, 3):
            n = 400
            rating = rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], n)
            sign = np.where(np.arange(n) % 2, 1, -1)
            known = {"split": "warm", "algorithm": name, "fold": fold, "measure": "rmse"}
            costs = {"fit_time": 1.0, "test_time": 1.0, "peak_memory": 1.0}
            sizes = {"n_train": 800, "n_test": n, "error": ""}
            table.append(known | {"value": off + 0.01 * fold * off} | costs | sizes)
            columns = {"user": "u", "item": "i", "rating": rating, "est": rating + sign * off}
            counts = {"n_user": np.arange(n) % 7, "n_item": np.arange(n) % 60}
            std = 1.0 if name == "one" else np.nan
            parts.append(pd.DataFrame(known | columns | counts | {"std": std}))
    return Comparison(pd.DataFrame(table), "one", {}, pd.concat(parts, ignore_index=True))


class Knowing(UserMean):
    """Errs by exactly 1 + 1 / (1 + training ratings of the item or user, whichever it looks at)."""

    def __init__(self, look_at, shrinkage=5):
        super().__init__(shrinkage)
        self.look_at = look_at

    def test(self, testset, verbose=False):
        ids = self.trainset._raw2inner_id_items, self.trainset._raw2inner_id_users
        lists = self.trainset.ir, self.trainset.ur
        which = ("item", "user").index(self.look_at)
        found = []
        for user, item, rating in testset:
            raw = (item, user)[which]
            n = len(lists[which][ids[which][raw]]) if raw in ids[which] else 0
            found.append(Prediction(user, item, rating, rating + 1 + 1 / (1 + n), {}))
        return found


@pytest.fixture(scope="module")
def data():
    return synthetic(n_users=60, n_items=70, n_ratings=2000)


@pytest.fixture(scope="module")
def curve(data):
    algorithms = {HOSTILE: Knowing("item"), "mean": UserMean()}
    measures = {"rmse": "rmse", "mae": "mae", "n": len}
    return learning_curve(algorithms, data, "item", [4, 0, 12], measures, progress=False)


@pytest.mark.parametrize("by", ["item", "user"])
def test_a_learning_curve_has_the_error_at_each_number_of_ratings(data, by):
    made = learning_curve({"a": Knowing(by)}, data, by, [0, 1, 5], n_splits=3, progress=False)
    table = made.table()
    assert table.columns.tolist() == [0, 1, 5]
    np.testing.assert_allclose(table.loc["a"], [2, 1.5, 1 + 1 / 6])
    np.testing.assert_allclose(made.points()["high"], made.points()["mean"])


def test_all_points_are_measured_on_the_same_ratings(curve):
    sizes = curve.table("n")
    assert (sizes.nunique(axis=1) == 1).all()
    assert curve.n_given == (0, 4, 12)
    grown = curve.comparison.table.groupby("split", sort=False)["n_train"].mean()
    assert grown.is_monotonic_increasing


def test_points_are_the_means_over_folds(curve):
    summary = curve.comparison.summary().set_index(["algorithm", "measure", "split"])
    points = curve.points()
    for row in points.itertuples():
        expected = summary.loc[(row.algorithm, row.measure, f"item, {row.n_given} ratings"), "mean"]
        assert row.mean == pytest.approx(expected)
        assert row.low <= row.mean <= row.high
        assert row.folds == 5


def test_bands_are_free_of_what_makes_a_fold_hard_for_all():
    rng = np.random.default_rng(0)
    rows = []
    for fold, level in enumerate(rng.normal(size=5), start=1):
        for name, off in (("a", 0.0), ("b", 1.0)):
            known = {"algorithm": name, "fold": fold, "measure": "m", "split": "s", "error": ""}
            rows.append(known | {"value": level + off, "n_train": 90, "n_test": 10})
    made = LearningCurve("item", (3,), Comparison(pd.DataFrame(rows), "a"))
    points = made.points()
    np.testing.assert_allclose(points["high"] - points["low"], 0, atol=1e-12)
    noise = rng.normal(size=10)
    noisy = pd.DataFrame(rows).assign(value=lambda t: t["value"] + noise)
    points = LearningCurve("item", (3,), Comparison(noisy, "a")).points()
    difference = Comparison(noisy, "a").differences()
    width = (points["high"] - points["low"]).iloc[0]  # of two: 1 / sqrt(2) of their difference's
    assert width * 2**0.5 == pytest.approx((difference["high"] - difference["low"]).iloc[0])


def test_an_algorithm_that_fails_in_one_fold_leaves_the_bands_of_the_others_alone():
    rng = np.random.default_rng(0)
    rows = [
        {"algorithm": name, "fold": fold, "value": value, "measure": "m", "split": "s"}
        for name in ("a", "b", "c")
        for fold, value in enumerate(rng.normal(size=3), start=1)
    ]
    frame = pd.DataFrame(rows).assign(n_train=90, n_test=10, error="")
    failed = (frame["algorithm"] == "c") & (frame["fold"] > 1)
    broken = frame.assign(value=frame["value"].mask(failed), error=np.where(failed, "no luck", ""))

    def bands(table):
        points = LearningCurve("item", (3,), Comparison(table, "a")).points()
        return points.set_index("algorithm").loc[["a", "b"]]

    pd.testing.assert_frame_equal(bands(broken), bands(frame[frame["algorithm"] != "c"]))
    failed = (frame["algorithm"] == "c") & (frame["fold"] > 2)
    some = LearningCurve(
        "item", (3,), Comparison(frame.assign(value=frame["value"].mask(failed)), "a")
    )
    assert some.points()[["low", "high"]].notna().all(axis=None)


def test_an_algorithm_that_fails_has_no_point_and_the_others_keep_theirs(data):
    class Broken(UserMean):
        def fit(self, trainset):
            raise RuntimeError("no luck")

    algorithms = {"good": UserMean(), "bad": Broken()}
    made = learning_curve(algorithms, data, n_given=[0, 3], n_splits=3, progress=False)
    assert made.table().loc["bad"].isna().all()
    good = made.points().query("algorithm == 'good'")
    assert good[["mean", "low", "high"]].notna().all(axis=None)
    assert "Failed: bad on split item, 0 ratings, folds 1, 2, 3: RuntimeError" in str(made)


def test_a_curve_prints_its_means(curve):
    shown = str(curve)
    assert "RMSE by the number of training ratings of the item." in shown
    assert f"{curve.table().loc['mean', 4]:.4f}" in shown
    assert repr(curve).startswith("LearningCurve(by item, 3 points")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"by": "genre"}, "'item' or 'user'"),
        ({"n_given": [3]}, "two or more"),
        ({"n_given": 3}, "two or more"),
        ({"n_given": [0, -1]}, "two or more"),
        ({"n_given": [0, 2.5]}, "two or more"),
        ({"n_given": [0, 5000]}, "0 items with more than 5000 ratings"),
        ({"n_given": [0, 1], "measures": ["nonsense"]}, "expected one of"),
    ],
)
def test_a_curve_that_cannot_be_drawn_is_refused_at_once(data, change, words):
    with pytest.raises(DataError, match=words):
        learning_curve({"a": UserMean()}, data, **change, progress=False)


def test_a_comparison_without_predictions_says_how_to_keep_them(comparison):
    bare = Comparison(comparison.table, "one")
    for plot in (plots.residuals, plots.reliability):
        with pytest.raises(DataError, match="keep_predictions=True"):
            plot(bare)


def test_the_figures_show_the_numbers(comparison, curve):
    ax = plots.learning_curve(curve)
    x, y = ax.lines[0].get_data()
    assert list(x) == pytest.approx(np.log([1, 5, 13]))
    assert list(y) == pytest.approx([2, 1.2, 1 + 1 / 13])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "4", "12"]
    assert len(ax.collections) == 2  # a band each
    line = plots.residuals(comparison).lines[1]
    assert list(line.get_xdata()) == list(range(7))  # of whole numbers, a point each
    line = plots.reliability(comparison).lines[0]
    np.testing.assert_allclose(line.get_data(), 1)
    ax = plots.paired_differences(comparison)
    point = ax.containers[0].lines[0].get_xdata()
    assert list(point) == pytest.approx(comparison.differences()["difference"])


@pytest.mark.parametrize(
    "plot", ["learning_curve", "residuals", "reliability", "paired_differences"]
)
def test_a_figure_is_drawn_whatever_the_names_are(comparison, curve, plot, tmp_path):
    axes = getattr(plots, plot)(curve if plot == "learning_curve" else comparison)
    axes.figure.savefig(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "plot", ["learning_curve", "residuals", "reliability", "paired_differences"]
)
def test_nothing_is_cut_off_or_covered_where_names_are_long_and_many(comparison, plot):
    name = "a model whose name says everything there is to say about it, number"
    split = "a split, of which as much can be said, with its seed and number of folds"
    names = [f"{name} {k}" for k in range(14)]

    def many(frame):
        mine = frame[frame["algorithm"] == "one"]
        return pd.concat([mine.assign(algorithm=own, split=split) for own in names])

    given = Comparison(many(comparison.table), names[0], {}, many(comparison.predictions))
    made = LearningCurve("item", (3,), given) if plot == "learning_curve" else given
    axes = getattr(plots, plot)(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes.figure.draw_without_rendering()
    whole, drawn = axes.figure.bbox, axes.get_tightbbox()
    (legend,) = axes.figure.legends
    for box in (drawn, legend.get_window_extent()):
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    assert legend.get_window_extent().y1 <= drawn.y0 + 1
    ticks = [tick.get_window_extent() for tick in axes.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in pairwise(ticks))
    assert axes.bbox.width > 0.4 * whole.width
    assert axes.bbox.height > 150


def test_each_algorithm_has_a_panel_of_residuals_with_its_own_line(comparison):
    first = plots.residual_panels(comparison)
    panels = first.figure.axes
    assert [ax.get_title().strip() for ax in panels] == ["one", r"_a \$x\$ <b>"]
    whole = plots.residuals(comparison)
    np.testing.assert_array_equal(panels[0].lines[-1].get_data(), whole.lines[1].get_data())
    np.testing.assert_array_equal(panels[0].lines[1].get_data(), whole.lines[2].get_data())


def test_the_roc_curve_has_the_area_of_scikit_learn(comparison):
    from sklearn.metrics import roc_auc_score

    ax = plots.roc_curve(comparison)
    mine = comparison.predictions[comparison.predictions["algorithm"] == "one"]
    area = roc_auc_score(mine["rating"] >= 4, mine["est"])
    assert f"one: {area:.3f}" in ax.get_legend_handles_labels()[1]
    x, y = ax.lines[1].get_data()
    assert np.trapezoid(y, x) == pytest.approx(area, abs=0.01)
    with pytest.raises(DataError, match="set relevant to what counts as liked"):
        plots.roc_curve(comparison, relevant=9)


def test_a_family_has_one_colour_and_its_members_their_own_lines():
    names = ["SVD", "Ours", "Ours, shuffled tokens", "Other", "Ours (small)"]
    looks = styles(names)
    colours = [look["color"] for look in looks.values()]
    assert colours[1] == colours[2] == colours[4]
    assert len(set(colours)) == 3
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == 5
    many = styles([f"a{k}" for k in range(20)])
    assert len({(look["color"], look["linestyle"]) for look in many.values()}) == 20


def test_equal_estimates_are_one_point_of_the_residuals(comparison):
    rng = np.random.default_rng(0)
    rows = comparison.predictions.assign(est=lambda t: rng.normal(size=len(t)))
    line = plots.residuals(Comparison(comparison.table, "one", {}, rows)).lines[1]
    mine = rows[rows["algorithm"] == "one"].sort_values("est")
    bins = np.arange(1200) * 15 // 1200
    assert list(line.get_xdata()) == pytest.approx(mine.groupby(bins)["est"].mean())
    rows = comparison.predictions.assign(est=lambda t: t["rating"].mean())
    (line, *_) = plots.residuals(Comparison(comparison.table, "one", {}, rows)).lines[1:]
    np.testing.assert_allclose(line.get_ydata(), [rows["rating"][:1200].mean() - rows["est"][0]])


def test_a_figure_goes_into_axes_that_are_given(comparison):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plots.residuals(comparison, ax=ax) is ax
    assert ax.get_legend().get_texts()[0].get_text() == "one"


def test_unknown_splits_and_measures_are_refused(comparison, curve):
    with pytest.raises(DataError, match="'warm'"):
        plots.residuals(comparison, split="cold")
    with pytest.raises(DataError, match="'rmse'"):
        plots.paired_differences(comparison, "mae")
    with pytest.raises(DataError, match="'rmse'"):
        plots.learning_curve(curve, "mse")


def test_reliability_without_std_says_where_it_comes_from(comparison):
    rows = comparison.predictions.assign(std=np.nan)
    with pytest.raises(DataError, match="LLMTokensBPMF"):
        plots.reliability(Comparison(comparison.table, "one", {}, rows))


def test_without_matplotlib_the_error_names_the_extra(comparison, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"llmtokens\[plots\]"):
        plots.residuals(comparison)


def contrast(first, second):
    def light(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return np.dot(parts, [0.2126, 0.7152, 0.0722])

    high, low = sorted([light(first), light(second)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", PALETTE)
def test_every_colour_can_be_seen_on_white(colour):
    assert contrast(colour, "#ffffff") >= 4.5
