"""Learning curves against hand-made predictions, and figures that show what they should."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from llmtokens import LLMTokens, plots
from llmtokens.compare import Comparison
from llmtokens.curves import learning_curve
from llmtokens.errors import DataError, MissingExtraError
from llmtokens.plots.style import PALETTE
from llmtokens.plots.tokens import far_apart

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


def test_a_learning_curve_is_the_rmse_of_each_bin(comparison):
    curve = learning_curve(comparison)
    one = curve[curve["algorithm"] == "one"]
    np.testing.assert_allclose(one["rmse"], 1)
    np.testing.assert_allclose(one["error"], 0, atol=1e-12)
    assert one["low"].tolist() == [0, 1, 2, 3, 5, 8, 12, 18, 27, 39]
    assert one["high"].tolist() == [0, 1, 2, 4, 7, 11, 17, 26, 38, 50]
    counts = comparison.predictions.query("algorithm == 'one'")["n_item"]
    assert one["n"].tolist() == [
        int(counts.between(low, high).sum())
        for low, high in zip(one["low"], one["high"], strict=True)
    ]
    np.testing.assert_allclose(curve[curve["algorithm"] == HOSTILE]["rmse"], 0.5)


def test_a_curve_by_user_counts_the_ratings_of_users(comparison):
    curve = learning_curve(comparison, "user", bins=[2, 4, 6])
    assert curve[["low", "high"]].drop_duplicates().to_numpy().tolist() == [[2, 3], [4, 5]]


def test_the_error_of_a_curve_is_that_of_repeated_samples():
    rng = np.random.default_rng(1)
    found, errors = [], []
    for _ in range(300):
        rows = pd.DataFrame(
            {
                "split": "s",
                "algorithm": "a",
                "rating": rng.normal(size=200),
                "est": 0.0,
                "n_item": 0,
            }
        )
        curve = learning_curve(Comparison(pd.DataFrame(), "a", {}, rows), bins=[0, 1])
        found.append(curve["rmse"][0])
        errors.append(curve["error"][0])
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)


@pytest.mark.parametrize("bins", [[], [3], [0, 0], [5, 1]])
def test_bins_that_do_not_ascend_are_refused(comparison, bins):
    with pytest.raises(DataError, match="ascending"):
        learning_curve(comparison, bins=bins)


def test_a_comparison_without_predictions_says_how_to_keep_them(comparison):
    bare = Comparison(comparison.table, "one")
    for plot in (plots.learning_curve, plots.residuals, plots.reliability):
        with pytest.raises(DataError, match="keep_predictions=True"):
            plot(bare)
    with pytest.raises(DataError, match="'item' or 'user'"):
        learning_curve(comparison, "genre")


def test_the_figures_show_the_numbers(comparison):
    x, y = plots.learning_curve(comparison).lines[0].get_data()
    assert (list(x), list(y)) == (list(range(10)), pytest.approx([1] * 10))
    line = plots.residuals(comparison).lines[1]
    assert len(line.get_xdata()) == 15
    line = plots.reliability(comparison).lines[0]
    np.testing.assert_allclose(line.get_data(), 1)
    ax = plots.paired_differences(comparison)
    point = ax.containers[0].lines[0].get_xdata()
    assert list(point) == pytest.approx(comparison.differences()["difference"])


@pytest.mark.parametrize(
    "plot", ["learning_curve", "residuals", "reliability", "paired_differences"]
)
def test_a_figure_is_drawn_whatever_the_names_are(comparison, plot, tmp_path):
    axes = getattr(plots, plot)(comparison)
    axes.figure.savefig(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 5000


def test_a_figure_goes_into_axes_that_are_given(comparison):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plots.learning_curve(comparison, ax=ax) is ax
    assert ax.get_legend().get_texts()[0].get_text() == "one"


def test_unknown_splits_and_measures_are_refused(comparison):
    with pytest.raises(DataError, match="'warm'"):
        plots.residuals(comparison, split="cold")
    with pytest.raises(DataError, match="'rmse'"):
        plots.paired_differences(comparison, "mae")


def test_reliability_without_std_says_where_it_comes_from(comparison):
    rows = comparison.predictions.assign(std=np.nan)
    with pytest.raises(DataError, match="LLMTokensBPMF"):
        plots.reliability(Comparison(comparison.table, "one", {}, rows))


def test_the_token_map_shows_all_tokens_and_names_a_few():
    rows = np.random.default_rng(0).normal(size=(100, 3))
    ax = plots.token_map(LLMTokens.from_embeddings([f"id {k}" for k in range(100)], rows))
    assert len(ax.collections[0].get_offsets()) == 100
    assert len(ax.texts) == 12
    with pytest.raises(DataError, match="needs two"):
        plots.token_map(LLMTokens.from_embeddings([1, 2], [[0.0], [1.0]]))


def test_points_far_apart_are_the_corners_of_a_square():
    points = np.array([[0, 0], [0.1, 0], [1, 1], [-1, -1], [1, -1], [-1, 1.0]])
    assert sorted(far_apart(points, 4)) == [2, 3, 4, 5]
    assert len(far_apart(points, 12)) == 6


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
