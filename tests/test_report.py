"""The report: complete in itself, harmless, and readable in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from surprise import BaselineOnly
from surprise.model_selection import KFold

from llmtokens import HashingEncoder, LLMTokens
from llmtokens.compare import Comparison, compare
from llmtokens.controls import UserMean
from llmtokens.curves import learning_curve
from llmtokens.datasets import synthetic
from llmtokens.errors import DataError, MissingExtraError, StorageError
from llmtokens.model_selection import ColdItemKFold
from llmtokens.report import report

EVIL = '<script>alert("x")</script> & </title> "quotes" {{ 7 * 7 }} $a_b$'
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


class Sure(BaselineOnly):
    """States a standard deviation."""

    def test(self, testset, verbose=False):
        return [p._replace(details={"std": 0.5 + p.est / 10}) for p in super().test(testset)]


class Broken(BaselineOnly):
    def fit(self, trainset):
        raise ValueError(EVIL)


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng(0)
    made = LLMTokens.from_embeddings(range(40), rng.normal(size=(40, 5)))
    return replace(made, labels=[EVIL, *[f"Title {k}" for k in range(1, 40)]])


@pytest.fixture(scope="module")
def comparison():
    data = synthetic(n_users=60, n_items=90, n_ratings=1500)
    algorithms = {"mean": UserMean(), EVIL: Sure(), "broken": Broken()}
    return compare(algorithms, data, keep_predictions=True, progress=False)


@pytest.fixture(scope="module")
def curve():
    data = synthetic(n_users=60, n_items=90, n_ratings=1500)
    algorithms = {"mean": UserMean(), EVIL: BaselineOnly(verbose=False)}
    return learning_curve(algorithms, data, n_given=[0, 3, 8], n_splits=3, progress=False)


@pytest.fixture(scope="module")
def page(comparison, curve, tokens, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "out.html"
    more = {"settings": {"note": EVIL}, "curves": [curve]}
    assert report(comparison, path, tokens, title=EVIL, **more) == path
    return path


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_refers_to_nothing_outside(page):
    html = page.read_text()
    elements = Elements(html)
    for tag, attributes in elements.found:
        assert tag not in {
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "audio",
            "video",
        }
        for name in ("src", "href", "action", "data", "poster", "srcset", "style"):
            value = attributes.get(name) or ""
            assert "//" not in value
            assert name != "href" or value == "" or value.startswith("#")
            assert "url(" not in value or "url(#" in value
    assert not re.search(r"@import|https?://|url\((?!#)", html)
    policy = next(a["content"] for tag, a in elements.found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_names_and_messages_are_text_and_never_markup(page):
    html = page.read_text()
    elements = Elements(html)
    assert [tag for tag, _ in elements.found].count("script") == 1
    assert '<script>alert("x")' not in html
    text = "".join(elements.text)
    assert text.count(EVIL) >= 6  # title, heading, tables, failures, map, settings
    assert not [a for _, a in elements.found if any(name.startswith("on") for name in a)]


def test_every_section_is_there(page):
    html = page.read_text()
    for heading in (
        "Results", "Time and memory", "Failed", "Paired differences", "Learning curves",
        "Residuals", "Liked or not", "Reliability", "Token map", "How it was made", "Versions",
        "Hardware",
    ):  # fmt: skip
        assert re.search(rf"<h[23][^>]*>{heading}</h[23]>", html), heading
    assert html.count("<circle") == 40
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_what_splits_test_and_which_way_is_better_is_said(tmp_path):
    data = synthetic(n_users=30, n_items=40, n_ratings=400)
    splits = {"new things": ColdItemKFold(2), "warm": KFold(2)}
    made = compare({"mean": UserMean()}, data, splits, ["rmse", "mae"], progress=False)
    text = "".join(Elements(report(made, tmp_path / "out.html").read_text()).text)
    assert "new things tests ratings of items that have none to learn from." in text
    assert "warm tests ratings at random; users and items mostly have others" in text
    assert text.count("lower is better") == 4  # two splits of two measures


def test_differences_are_a_table_for_each_split_and_measure_that_fits_a_phone(page, comparison):
    html = page.read_text()
    numbers = html[html.index(", in numbers</summary>") : html.index("</details>")]
    known = comparison.differences().dropna()
    assert re.findall(r"<h3>(.*?)</h3>", numbers) == [
        f"{split}: {measure}" for split in comparison.splits for measure in comparison.measures
    ]
    for row in known.itertuples():
        assert f"{row.difference:+.4f}" in numbers
    assert re.findall(r'scope="col"[^>]*>(.*?)</th>', numbers)[:3] == [
        "Algorithm", "Difference", "95 % interval",
    ]  # fmt: skip


def test_tables_hold_the_values(page, comparison, curve):
    html, markdown = page.read_text(), page.with_suffix(".md").read_text()
    for row in comparison.summary().itertuples():
        if np.isfinite(row.mean):
            assert f">{row.mean:.4f}<" in html
            assert f"| {row.mean:.4f} |" in markdown
    for value in curve.table().to_numpy().ravel():
        assert f">{value:.4f}<" in html
        assert f"| {value:.4f} |" in markdown
    back = pd.read_csv(page.with_suffix(".csv"), keep_default_na=False, dtype={"value": str})
    both = pd.concat([comparison.table["value"], curve.comparison.table["value"]])
    np.testing.assert_array_equal([float(text or "nan") for text in back["value"]], both)
    assert "KFold(n_splits=5" in markdown


def test_the_answer_comes_first_and_is_that_of_the_table(page, comparison):
    html = page.read_text()
    best = comparison.best().set_index("measure").loc["rmse"]
    assert (best["algorithm"], best["next"]) == (EVIL, "mean")
    assert best["difference"] == pytest.approx(
        best["mean"]
        - comparison.summary().set_index(["algorithm", "measure"])["mean"]["mean", "rmse"]
    )
    answer = comparison.answer()
    assert f"has the lowest RMSE: {best['mean']:.4f}, {-best['difference']:.4f} from" in answer
    assert ("more than chance" in answer) == (best["p"] < 0.05)
    assert html.index('class="lead"') < html.index("<h2>Results</h2>")
    assert re.sub(r"\W+", "", answer)[:60] in re.sub(r"\W+", "", "".join(Elements(html).text))


def test_the_best_means_are_marked(page, comparison):
    html = page.read_text()
    marked = re.findall(r'<td class=" mean best[^"]*">([\d.]+)</td>', html)
    assert marked == [f"{mean:.4f}" for mean in comparison.best()["mean"]]


def test_where_high_is_good_the_highest_is_best_and_where_nobody_knows_none_is():
    rows = [
        {"split": "s", "algorithm": a, "fold": k, "measure": m, "value": v + k / 99, "error": "",
         "fit_time": 1.0, "test_time": 1.0, "peak_memory": 1.0, "n_train": 9, "n_test": 1}
        for m in ("up", "down", "odd") for a, v in (("a", 1.0), ("b", 2.0)) for k in (1, 2, 3)
    ]  # fmt: skip
    made = Comparison(pd.DataFrame(rows), "a", better={"up": "higher", "down": "lower"})
    assert made.best()[["measure", "algorithm"]].values.tolist() == [["up", "b"], ["down", "a"]]
    assert made.answer().startswith("On s, b has the highest UP: 2.0202, 1.0000 from the next, a")
    assert made._repr_html_().count("<strong>") == 2


def test_a_notebook_shows_tables_and_no_markup_of_names(comparison, curve):
    data = synthetic(n_users=20, n_items=20, n_ratings=100)
    for made in (comparison, curve):
        assert "<script>" not in made._repr_html_()
        assert "&lt;script&gt;" in made._repr_html_()
    assert "100 ratings from" in data._repr_html_()
    assert data._repr_html_().count("<table") == 2


def test_times_and_memory_stand_there_once(page, comparison):
    assert page.read_text().count(">Fit time (s)<") == 1
    assert page.with_suffix(".md").read_text().count("| Fit time (s) |") == 1


def test_names_are_no_links_and_no_formulas(comparison, tmp_path):
    name, formula = "[click](javascript:alert(1))", '=HYPERLINK("http://x","y")'
    table = comparison.table.replace({"algorithm": {EVIL: name, "mean": formula}})
    made = Comparison(table, formula, {"data": {name: "a ``` b"}})
    path = report(made, tmp_path / "out.html", title=name)
    markdown, csv = path.with_suffix(".md").read_text(), path.with_suffix(".csv").read_text()
    assert name not in markdown
    assert "\\[click\\](javascript" in markdown
    assert "```` a ``` b ````" in markdown
    assert formula in set(made.table["algorithm"])
    names = set(pd.read_csv(path.with_suffix(".csv"))["algorithm"])
    assert f"'{formula}" in names
    assert formula not in names
    assert not re.search(r"^[=+@]|,[=+@]|,\"[=+@]", csv, re.M)


def test_without_predictions_and_tokens_there_is_a_smaller_page(comparison, tmp_path):
    path = report(replace(comparison, predictions=None), tmp_path / "small.html")
    html = path.read_text()
    assert "Paired differences" in html
    assert not re.search("Learning curves|Residuals|Token map", html)


def test_the_map_names_its_groups_and_says_what_its_colours_mean(comparison, tmp_path):
    genres = ["Western" if k % 2 else "Musical" for k in range(60)]
    titles = [f"{'saddle' if k % 2 else 'lantern'} number {k}" for k in range(60)]
    items = pd.DataFrame({"item": range(60), "title": titles, "genres": genres})
    tokens = LLMTokens.from_frame(items, "{title}", categorical="genres", encoder=HashingEncoder())
    html = report(comparison, tmp_path / "out.html", tokens).read_text()
    named = re.findall(r"<text x=[^>]*>([^<]*)</text>", html)
    assert {"saddle", "lantern"} <= set(" ".join(named).replace(",", "").split())
    colours = dict(re.findall(r'<span class="(s\d)">● (\w+)</span>', html))
    of = {title: k for k, title in re.findall(r'class="(s\d)"[^>]*><title>([^<]*)', html)}
    assert {title: colours[k] for title, k in of.items()} == dict(zip(titles, genres, strict=True))


def test_tokens_of_one_dimension_have_no_map_and_spoil_nothing(comparison, tmp_path):
    flat = LLMTokens.from_embeddings([1, 2], [[0.0], [1.0]])
    text = report(comparison, tmp_path / "out.html", flat).read_text()
    assert "<h2>Token map</h2>" not in text
    assert "<h2>Reliability</h2>" in text


def test_a_measure_without_differences_has_no_empty_figure(comparison, tmp_path):
    table = comparison.table
    lacking = table[table["measure"] == "rmse"].assign(measure="lacking", value=np.nan)
    both = replace(comparison, table=pd.concat([table, lacking]), predictions=None)
    text = report(both, tmp_path / "out.html").read_text()
    assert "Differences in rmse to mean" in text
    assert "Differences in lacking to mean" not in text


def test_one_algorithm_alone_has_a_report(tmp_path):
    data = synthetic(n_users=50, n_items=60, n_ratings=800)
    alone = compare({"mean": UserMean()}, data, progress=False, keep_predictions=True)
    html = report(alone, tmp_path / "alone.html").read_text()
    assert "Residuals" in html
    assert "Paired differences" not in html


def test_a_path_that_will_not_do_is_refused(comparison, tmp_path):
    with pytest.raises(DataError, match=r"ends in \.html"):
        report(comparison, tmp_path / "report.csv")
    with pytest.raises(StorageError, match="folder exists"):
        report(comparison, tmp_path / "absent" / "report.html")


@pytest.mark.parametrize("suffix", [".md", ".csv"])
def test_a_file_that_no_report_wrote_is_not_replaced(comparison, tmp_path, suffix):
    mine = (tmp_path / "ratings.html").with_suffix(suffix)
    mine.write_text("mine")
    with pytest.raises(DataError, match="which no report has written; choose another name"):
        report(comparison, tmp_path / "ratings.html")
    assert mine.read_text() == "mine"
    for _ in range(2):
        report(comparison, tmp_path / "other.html")


def test_without_jinja2_the_error_names_the_extra(comparison, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"llmtokens\[plots\]"):
        report(comparison, tmp_path / "report.html")


def test_both_palettes_of_the_page_can_be_seen_on_their_ground(page):
    from test_curves_and_plots import contrast

    rules = re.findall(r":root \{(.*?)\}", page.read_text(), re.S)
    assert len(rules) == 3
    for rule in rules:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", rule))
        ground = colours.pop("page").ljust(7, "f")
        for name, colour in colours.items():
            if name in {"line", "grid", "band"}:
                continue
            colour = "#" + "".join(2 * c for c in colour[1:]) if len(colour) == 4 else colour
            assert contrast(colour, ground) >= 4.5, (name, colour, ground)


# -- in a browser ------------------------------------------------------------------------------


def browse(path, profile, *options):
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr",
        f"--user-data-dir={profile}", *options, path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, said


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium in PATH")


@needs_chromium
def test_the_browser_has_nothing_to_complain_of_and_its_script_runs(page, tmp_path):
    dom, said = browse(page, tmp_path / "profile", "--dump-dom")
    assert said == []
    circles = re.findall(r"<circle[^>]*>(.*?)</circle>", dom)
    assert circles == [""] * 40  # the script took the names out


@needs_chromium
def test_pointing_at_the_map_shows_the_name(page, tmp_path):
    pointing = """<script>
    const at = document.querySelectorAll("svg.map circle")[7].getBoundingClientRect();
    document.querySelector("svg.map").dispatchEvent(new PointerEvent("pointermove",
        {clientX: at.x + at.width / 2, clientY: at.y + at.height / 2}));
    </script></body>"""
    html = re.sub("<meta http-equiv.*?>", "", page.read_text(), count=1)
    copy = tmp_path / "pointing.html"
    copy.write_text(html.replace("</body>", pointing))
    dom, said = browse(copy, tmp_path / "profile", "--dump-dom")
    assert said == []
    assert re.search(r'class="name"[^>]*>Title 7<', dom)


@needs_chromium
def test_a_request_to_the_outside_would_be_noticed(page, tmp_path):
    copy = tmp_path / "leak.html"
    copy.write_text(page.read_text().replace("</main>", '<img src="http://127.0.0.1:9/x"></main>'))
    _, said = browse(copy, tmp_path / "profile", "--dump-dom")
    assert any("Content Security Policy" in line for line in said)


@needs_chromium
def test_the_page_is_as_wide_as_the_window_and_dark_where_asked(page, tmp_path):
    from PIL import Image

    for name, options, dark in [
        ("light", ["--window-size=1200,900"], False),
        ("dark", ["--window-size=1200,900", "--blink-settings=preferredColorScheme=0"], True),
    ]:
        picture = tmp_path / f"{name}.png"
        browse(page, tmp_path / name, f"--screenshot={picture}", *options)
        with Image.open(picture) as image:
            assert image.size[0] == 1200
            assert (np.median(np.asarray(image.convert("L"))) < 60) == dark
