"""The command line, as its users call it, with files."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import warnings
from unittest import mock

import pandas as pd
import pytest
from algorithms import DATA

import llmtokens
from llmtokens import LLMTokens
from llmtokens.cli import choices, main, output, sources


def run(*arguments, cwd, ok=True):
    """Run ``llmtokens`` as a process would, in this one, and give back what it printed."""
    code, printed, said = 0, io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", ["llmtokens", *map(str, arguments)]),
        mock.patch.object(warnings, "formatwarning"),
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(said),
    ):
        warnings.simplefilter("default")
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code or 0
        for w in warned:
            said.write(warnings.formatwarning(w.message, w.category, w.filename, w.lineno))
    if ok:
        assert code == 0, said.getvalue()
        return printed.getvalue()
    return subprocess.CompletedProcess(arguments, code, printed.getvalue(), said.getvalue())


def spawn(*arguments, cwd):
    """Run ``llmtokens`` in a process of its own."""
    command = [sys.executable, "-m", "llmtokens", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two tables, and the tokens and model made from them."""
    folder = tmp_path_factory.mktemp("cli")
    items = DATA.items.assign(genres=DATA.items["genres"].map("|".join)).drop(columns="tags")
    items.rename(columns={"item": "movieId"}).to_csv(folder / "movies.csv", index=False)
    ratings = DATA.ratings.rename(columns={"user": "userId", "item": "movieId"})
    ratings.to_csv(folder / "ratings.csv", index=False)
    run(
        *("embed", "movies.csv", "--id", "movieId", "--encoder", "hashing"),
        *("--text", "{title}", "--text", "{description}", "-o", "tokens.safetensors"),
        cwd=folder,
    )
    run(
        *("fit", "ratings.csv", "--user", "userId", "--item", "movieId"),
        *("--tokens", "tokens.safetensors", "-o", "model.safetensors"),
        *("--param", "n_factors=8", "--param", "random_state=0", "--param", "dtype=float64"),
        cwd=folder,
    )
    (folder / "short.csv").write_text("user,item,rating\na,b,1\na,c,2\nb,d,3\n")
    return folder


def test_embed_writes_tokens_of_all_items(folder):
    tokens = LLMTokens.load(folder / "tokens.safetensors")
    assert tokens.ids == DATA.items["item"].tolist()
    assert tokens.template == ("{title}", "{description}")
    assert tokens.labels == DATA.items["title"].tolist()


def test_predict_takes_ids_as_they_read_and_says_who_is_cold(folder):
    rows = json.loads(run("predict", "model.safetensors", 1, 2, "nothing", "--json", cwd=folder))
    assert [row["item"] for row in rows] == [2, "nothing"]
    assert [row["cold_item"] for row in rows] == [False, True]


def test_recommend_prints_titles_for_people_and_records_for_programs(folder):
    user = DATA.ratings["user"].value_counts().index[-1]
    printed = run("recommend", "model.safetensors", user, "-n", 3, cwd=folder)
    rows = json.loads(run("recommend", "model.safetensors", user, "-n", 3, "--json", cwd=folder))
    assert len(rows) == 3
    for row in rows:
        assert row["label"].split()[0] in printed
    seen = set(DATA.ratings.loc[DATA.ratings["user"] == user, "item"])
    assert not seen & {row["item"] for row in rows}


def test_several_users_and_questions_are_served_in_one_run(folder):
    users = DATA.ratings["user"].value_counts().index[-2:].tolist()
    rows = json.loads(run("recommend", "model.safetensors", *users, "-n", 3, "--json", cwd=folder))
    assert [row["user"] for row in rows] == [users[0]] * 3 + [users[1]] * 3
    asked = ("the winter garden", "a storm at sea")
    rows = json.loads(run("ask", "model.safetensors", *asked, "-n", 2, "--json", cwd=folder))
    assert list(dict.fromkeys(row["question"] for row in rows)) == list(asked)


@pytest.mark.parametrize("command", [("recommend", "nobody"), ("ask", "the winter garden")])
def test_lists_can_be_restricted_by_a_condition(command, folder):
    name, what = command
    done = run(name, "model.safetensors", what, "--where", "year < 1990", "--json", cwd=folder)
    year = DATA.items.set_index("item")["year"]
    found = [year[row["item"]] for row in json.loads(done)]
    assert found
    assert max(found) < 1990


def test_newcomers_are_told_from_their_words(folder):
    """Tokens of users in the items' space, a model that knows them, and lists for nobody known."""
    DATA.users.rename(columns={"user": "userId"}).to_csv(folder / "users.csv", index=False)
    run(
        *("embed", "users.csv", "--id", "userId", "--like", "tokens.safetensors"),
        *("-o", "users.safetensors"),
        cwd=folder,
    )
    assert set(LLMTokens.load(folder / "users.safetensors").template) == {"{profile}"}
    run(
        *("fit", "ratings.csv", "--user", "userId", "--item", "movieId", "-o", "told.safetensors"),
        *("--tokens", "tokens.safetensors", "--user-tokens", "users.safetensors"),
        cwd=folder,
    )
    asked = ("recommend", "told.safetensors", "--about", DATA.users["profile"].iloc[0])
    rows = json.loads(run(*asked, "-n", 4, "--json", cwd=folder))
    assert [row["basis"] for row in rows] == ["text"] * 4
    assert "somebody who says" in run(*asked, cwd=folder)
    refused = run("recommend", "model.safetensors", "--about", "storms", cwd=folder, ok=False)
    assert "user_tokens" in refused.stderr
    run(
        *("fit", "ratings.csv", "--user", "userId", "--item", "movieId", "-o", "past.safetensors"),
        *("--tokens", "tokens.safetensors", "--user-tokens", "history"),
        cwd=folder,
    )
    assert llmtokens.load(folder / "past.safetensors").user_tokens.history.sum() > 0


def test_ask_finds_an_item_by_its_words(folder):
    wanted = DATA.items.iloc[5]
    query = wanted["description"].split(".")[0]
    rows = json.loads(run("ask", "model.safetensors", query, "-n", 5, "--json", cwd=folder))
    assert wanted["item"] in [row["item"] for row in rows]


def test_a_portrait_and_what_tokens_say_are_those_of_the_library(folder):
    run(
        *("fit", "ratings.csv", "--user", "userId", "--item", "movieId", "-o", "ease.safetensors"),
        *("--tokens", "tokens.safetensors", "--algo", "LLMTokensEASE"),
        cwd=folder,
    )
    algo = llmtokens.load(folder / "ease.safetensors")
    lines = json.loads(run("portrait", "ease.safetensors", 1, "-n", 2, "--json", cwd=folder))
    assert [line["name"] for line in lines] == algo.portrait(1, 2)["name"].tolist() != []
    known = algo.item_tokens.describe(2, 3)
    for name in ("ease.safetensors", "tokens.safetensors"):
        ends = json.loads(run("describe", name, "--dims", 2, "-n", 3, "--json", cwd=folder))
        assert [end["items"] for end in ends] == known["items"].tolist()
    shown = run("portrait", "ease.safetensors", 1, "-n", 2, cwd=folder)
    assert "item: liked more than by others" in shown
    assert "says nothing" in run("portrait", "model.safetensors", 1, cwd=folder)
    assert "of all variance: " in run("describe", "tokens.safetensors", cwd=folder)


def test_similar_items_and_users_are_found_by_text_and_by_ratings(folder):
    rows = json.loads(run("similar", "model.safetensors", 5, "-n", 3, "--json", cwd=folder))
    assert len(rows) == 3
    assert {"item", "label", "similarity"} == rows[0].keys()
    by = run("similar", "model.safetensors", 5, "--by", "ratings", "--json", cwd=folder)
    assert json.loads(by)[0]["common"] > 0
    users = run("similar", "model.safetensors", 1, "--users", "--json", cwd=folder)
    assert 1 not in [row["user"] for row in json.loads(users)]


def test_explain_gives_terms_that_add_up(folder):
    found = json.loads(run("explain", "model.safetensors", 1, 2, "--json", cwd=folder))
    assert sum(found["terms"].values()) == pytest.approx(found["est"], abs=1e-6)
    assert found["sentence"] in run("explain", "model.safetensors", 1, 2, cwd=folder)


def test_a_half_life_is_told_by_the_times_in_the_table(folder):
    run(
        *(
            "fit",
            "ratings.csv",
            "--user",
            "userId",
            "--item",
            "movieId",
            "-o",
            "recent.safetensors",
        ),
        *("--tokens", "tokens.safetensors", "--algo", "LLMTokensContent"),
        *("--param", "half_life=2592000"),
        cwd=folder,
    )
    weight = llmtokens.load(folder / "recent.safetensors").ratings_.weight
    assert 0 < weight.min() < weight.max() == 1


def test_benchmark_compares_on_the_generated_data(folder):
    out = run(
        *("benchmark", "--folds", 2, "--split", "warm", "--algo", "SVD", "--algo", "LLMTokensSVD"),
        "--json",
        cwd=folder,
    )
    table = pd.DataFrame(json.loads(out))
    assert (table["value"] != table["value"].round(12)).all()
    mean = table[table["measure"] == "rmse"].groupby("algorithm")["value"].mean()
    assert mean["LLMTokensSVD"] < mean["LLMTokensSVD, shuffled tokens"]
    assert mean["LLMTokensSVD"] < mean["SVD"]


def test_benchmark_reads_a_table_with_columns_of_other_names_and_ranks(folder):
    out = run(
        *("benchmark", "--data", "ratings.csv", "--user", "userId", "--item", "movieId"),
        *("--items", "movies.csv", "--tokens", "tokens.safetensors", "--folds", 2, "--json"),
        *("--split", "warm", "--algo", "StructureRidge", "--algo", "UserMean", "--algo", "SVD"),
        *("--measure", "rmse", "--measure", "ndcg@5", "--measure", "mrr"),
        cwd=folder,
    )
    table = pd.DataFrame(json.loads(out))
    assert table["error"].eq("").all()
    assert set(table["algorithm"]) == {"StructureRidge", "UserMean", "SVD"}
    means = table.pivot_table(index="measure", columns="algorithm", values="value")
    assert means.loc["rmse", "StructureRidge"] < means.loc["rmse", "UserMean"]
    assert means.loc["ndcg@5", "StructureRidge"] > means.loc["ndcg@5", "UserMean"]
    assert means.loc["mrr"].between(0, 1).all()


def test_benchmark_measures_what_is_liked_and_what_lists_show(folder):
    out = run(
        *("benchmark", "--data", "ratings.csv", "--user", "userId", "--item", "movieId"),
        *("--items", "movies.csv", "--tokens", "tokens.safetensors", "--folds", 2, "--json"),
        *("--split", "warm", "--algo", "Popularity", "--algo", "BaselineOnly"),
        *("--measure", "liked", "--measure", "coverage@5", "--measure", "gini@5"),
        *("--measure", "novelty@5", "--measure", "diversity@5", "--reference", "BaselineOnly"),
        cwd=folder,
    )
    table = pd.DataFrame(json.loads(out))
    assert table["error"].eq("").all()
    means = table.pivot_table(index="measure", columns="algorithm", values="value")
    assert set(means.index) == {
        *choices.LIKED, "coverage@5", "gini@5", "novelty@5", "diversity@5",
    }  # fmt: skip
    assert means.loc["liked-auc", "BaselineOnly"] > means.loc["liked-auc", "Popularity"] > 0.5
    assert means.loc["novelty@5", "Popularity"] < means.loc["novelty@5", "BaselineOnly"]
    assert means.loc["gini@5"].between(0.5, 1).all()


def test_predict_has_a_heading_and_titles(folder):
    printed = run("predict", "model.safetensors", 1, 2, cwd=folder)
    title = DATA.items.set_index("item").loc[2, "title"]
    assert "Ratings that user 1 would give" in printed
    assert title.split()[0] in printed


def test_recommend_leads_to_the_model_for_lists(folder):
    done = run("recommend", "model.safetensors", 1, "-n", 1, cwd=folder, ok=False)
    assert "for lists, fit --algo LLMTokensEASE" in done.stderr


def test_python_m_is_the_command_line(folder):
    done = spawn("predict", "absent", 1, 2, cwd=folder)
    assert (done.returncode, done.stderr[:29]) == (1, "llmtokens: could not read 'ab")


@pytest.mark.parametrize(
    "text", ["\x1b]0;mine\x07", "\x1b[2J", "\x9b31m", "a\rb", "\x08\x08", "\u202egnp.exe"]
)
def test_what_a_terminal_would_obey_is_shown_and_not_sent(text, capsys):
    output.show([{"label": f"Film {text}", "est": 1.0}], False, f"Near: {text}")
    output.show({"sentence": text}, False)
    printed = capsys.readouterr().out
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in printed)
    assert "\u202e" not in printed
    assert "\ufffd" in printed


def test_pairs_without_ratings_are_fitted_and_compared_as_ones(folder):
    pairs = pd.read_csv(folder / "ratings.csv").drop(columns="rating")
    pairs.rename(columns={"timestamp": "when"}).to_csv(folder / "pairs.csv", index=False)
    named = ("--user", "userId", "--item", "movieId", "--timestamp", "when", "--implicit")
    run(
        *("fit", "pairs.csv", *named, "-o", "pairs.safetensors", "--tokens", "tokens.safetensors"),
        cwd=folder,
    )
    model = llmtokens.load(folder / "pairs.safetensors")
    assert (type(model).__name__, model.implicit) == ("LLMTokensEASE", True)
    assert set(model.ratings_.value) == {1.0}
    out = run(
        *("benchmark", "--data", "pairs.csv", *named, "--tokens", "tokens.safetensors"),
        *("--folds", 2, "--split", "time", "--json", "--curve", "user"),
        cwd=folder,
    )
    table = pd.DataFrame(json.loads(out))
    assert table["error"].eq("").all()
    assert set(table["measure"]) == {"ndcg@10", "recall@10"}
    curve = table[table["split"].str.startswith("user, ")]
    assert set(curve["measure"]) == {"ndcg@10"}  # of pairs that are all 1 an error says nothing
    assert table["value"].gt(0).all()


def test_events_are_fitted_and_what_was_bought_is_left_out(folder):
    events, _ = llmtokens.datasets.shop_events(n_users=30, n_journeys=3)
    events.to_csv(folder / "events.csv", index=False)
    fitted = run(
        *("fit", "events.csv", "--event", "event", "--event-weight", "view=1"),
        *("--event-weight", "buy=5", "--times", "-o", "shop.safetensors"),
        cwd=folder, ok=False,
    )  # fmt: skip
    assert (fitted.returncode, "(event without a weight)" in fitted.stderr) == (0, True)
    assert type(llmtokens.load(folder / "shop.safetensors")).__name__ == "LLMTokensEASE"
    bought = set(events.loc[events["user"].eq(1) & events["event"].eq("buy"), "item"])
    asked = ("recommend", "shop.safetensors", 1, "-n", 1000, "--json", "--exclude-seen")
    lists = {
        how: {row["item"] for row in json.loads(run(*asked, how, cwd=folder))}
        for how in ("buy", "no", "yes", "buy, view")
    }
    assert lists["no"] - lists["buy"] == bought
    assert lists["yes"] == lists["buy, view"] < lists["buy"]


def test_a_trial_that_failed_is_exit_status_3(folder):
    done = run(
        *("benchmark", "--folds", 2, "--split", "warm", "--algo", "UserMean"),
        *("--measure", "rmse", "--measure", "ndcg@5000"),
        cwd=folder,
        ok=False,
    )
    assert done.returncode == 3
    assert "found k=5000" in done.stdout


def test_algorithms_that_know_no_text_need_none(folder):
    out = run(
        *("benchmark", "--data", "ratings.csv", "--user", "userId", "--item", "movieId"),
        *("--folds", 2, "--split", "warm", "--algo", "SVD", "--out", "plain.html"),
        cwd=folder,
    )
    assert "SVD" in out
    assert "Token map" not in (folder / "plain.html").read_text(encoding="utf-8")


def test_a_learning_curve_goes_as_far_as_the_data(folder):
    frame = pd.read_csv(folder / "ratings.csv").groupby("userId").head(12)
    frame.to_csv(folder / "few.csv", index=False)
    out = run(
        *("benchmark", "--data", "few.csv", "--user", "userId", "--item", "movieId"),
        *("--folds", 2, "--split", "warm", "--algo", "UserMean", "--curve", "user", "--json"),
        cwd=folder,
    )
    splits = {row["split"] for row in json.loads(out)}
    assert splits == {"warm", *(f"user, {n} ratings" for n in (0, 1, 2, 3, 5, 10))}


def test_benchmark_writes_a_report_with_learning_curves(folder):
    run(
        *("benchmark", "--data", ".", "--encoder", "hashing"),
        *("--text", "{title}", "--folds", 2, "--split", "cold-item", "--algo", "LLMTokensContent"),
        *("--curve", "user", "--jobs", 2, "--out", "report.html"),
        cwd=folder,
    )
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "rmse by ratings of the user" in page
    assert "cold-item: rmse" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("predict", "absent.safetensors", "1", "2"), "could not read 'absent.safetensors'"),
        (("predict", "movies.csv", "1", "2"), "not a whole safetensors file"),
        (("fit", "ratings.csv", "-o", "x.safetensors"), "no column"),
        (("fit", "ratings.csv", "-o", "x.safetensors"), "Name yours with --user, --item, --rating"),
        (("fit", "absent.csv", "-o", "no/x.safetensors"), "could not write 'no/x.safetensors'"),
        (("fit", "absent.csv", "-o", "."), "there is a folder of that name"),
        (("embed", "absent.csv", "-o", "no/x.safetensors"), "could not write 'no/x.safetensors'"),
        (("fit", "absent.csv", "-o", "x", "--algo", "Nonsense"), "found --algo Nonsense"),
        (("fit", "absent.csv", "-o", "x", "--param", "item_tokens=x"), "found --param item_tokens"),
        (("fit", "absent.csv", "-o", "x", "--algo", "LLMTokensContent"), "found no --tokens"),
        (("fit", "absent.csv", "-o", "x", "--event-weight", "buy=5"), "without --event"),
        (("fit", "ratings.csv", "-o", "x", "--event", "rating", "--event-weight", "buy"),
         "found --event-weight buy; expected a kind and a number"),
        (("recommend", "model.safetensors", "1", "--exclude-seen", "buy"),
         "found --exclude-seen ['buy']; expected yes, no: kinds of events are known to a model "
         "that was fitted with --event"),
        (("benchmark", "--data", "absent", "--algo", "Nonsense"), "found --algo Nonsense"),
        (("benchmark", "--data", "absent", "--out", "x.pdf"), "expected one that ends in .html"),
        (("benchmark", "--data", "absent", "--out", "no/x.html"), "could not write 'no/x.html'"),
        (("benchmark", "--data", "ratings.csv", "--user", "userId", "--item", "movieId",
          "--algo", "StructureRidge"), "neither genres nor year: name yours with --cat"),
        (("benchmark", "--data", "ratings.csv", "--out", "ratings.html"),
         "found 'ratings.csv', which a report at 'ratings.html' would replace"),
        (("benchmark", "--measure", "ndgc@10"), "expected one of rmse"),
        (("benchmark", "--measure", "auc@10"), "such as ndcg@10"),
        (("benchmark", "--folds", "1", "--split", "warm", "--json"), "--split warm; expected"),
        (("benchmark", "--measure", "ndcg@0"), "such as ndcg@10"),
        (("benchmark", "--data", "ratings.csv", "--user", "userId", "--item", "movieId"),
         "expected a title or a text among them: name yours with --text"),
        (("benchmark", "--data", "short.csv", "--curve", "item", "--algo", "SVD"),
         "found --curve item and too few items with more than one rating"),
        (("benchmark", "--measure", "liked-auc@3"), "such as ndcg@10"),
        (("benchmark", "--algo", "SVD", "--reference", "Nobody", "--encoder", "hashing"),
         "found --reference Nobody; expected one of SVD"),
        (("benchmark", "--split", "lukewarm"), "expected one of warm, cold-item"),
        (("benchmark", "--curve", "genre"), "expected one of item, user"),
        (("embed", "movies.csv", "-o", "x.safetensors"), "no column 'item'"),
        (("embed", "movies.csv", "--id", "movieId", "--encoder", "hashing", "--precision",
          "int8", "-o", "x.safetensors"), "--precision int8 and an encoder without weights"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_exit_status_1(folder, arguments, words):
    done = run(*arguments, cwd=folder, ok=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("llmtokens: ")


def test_a_warning_is_one_line(folder):
    LLMTokens.from_embeddings([1, 2], [[1.0], [2.0]]).save(folder / "two.safetensors")
    done = run(
        *("fit", "ratings.csv", "--user", "userId", "--item", "movieId", "-o", "x.safetensors"),
        *("--tokens", "two.safetensors"),
        cwd=folder,
        ok=False,
    )
    assert done.returncode == 0
    warned = [line for line in done.stderr.splitlines() if not line.startswith("fit ")]  # progress
    assert [line[:20] for line in warned] == ["llmtokens: only 2 of"]


@pytest.mark.parametrize("at", [0, 1, 4])
def test_debug_shows_the_traceback_wherever_it_stands(folder, at):
    arguments = ["predict", "absent.safetensors", 1, 2]
    arguments.insert(at, "--debug")
    done = spawn(*arguments, cwd=folder)
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_a_wrong_option_is_exit_status_2(folder):
    assert run("predict", "--nonsense", cwd=folder, ok=False).returncode == 2


def test_help_names_all_there_is_to_choose_from(folder):
    fit, benchmark = (run(name, "--help", cwd=folder) for name in ("fit", "benchmark"))
    for name in sources.OURS:
        assert name in fit
    for name in (*choices.ALGORITHMS, *choices.SPLITS, *choices.MEASURES):
        assert name in benchmark


def test_help_has_an_example_for_every_command(folder):
    for command in (
        "embed",
        "fit",
        "predict",
        "recommend",
        "ask",
        "similar",
        "explain",
        "benchmark",
    ):
        assert f"Example: llmtokens {command}" in run(command, "--help", cwd=folder)


def test_a_usual_column_that_is_not_numeric_is_left_out_and_told_and_one_that_was_named_refused(
    folder,
):
    (folder / "mugs.csv").write_text("item,title,year\n1,Mug,1995\n2,Tee,c. 1996\n3,Cap,1997?\n")
    common = ("embed", "mugs.csv", "--encoder", "hashing", "-o", "mugs.safetensors")
    ended = run(*common, cwd=folder, ok=False)
    assert ended.returncode == 0
    assert "'c. 1996' as 1996; until then it is left out" in ended.stderr
    assert LLMTokens.load(folder / "mugs.safetensors").columns is None
    refused = run(*common, "--numeric", "year", cwd=folder, ok=False)
    assert refused.returncode == 1
    assert "column 'year' is not numeric: 2 of 3 cells" in refused.stderr


def test_labels_are_split_by_what_an_option_says_and_defaults_can_be_switched_off(folder):
    (folder / "slashes.csv").write_text("item,title,genres\n1,a,x/y\n2,b,y/z\n3,c,z\n")
    common = ("embed", "slashes.csv", "--encoder", "hashing", "-o", "slashes.safetensors")
    for more, vocabulary in (
        (("--separator", "/"), ["x", "y", "z"]), (("--separator", ""), ["x/y", "y/z", "z"]),
        (("--categorical", "none"), None),
    ):  # fmt: skip
        run(*common, *more, cwd=folder)
        blocks = LLMTokens.load(folder / "slashes.safetensors").projection.blocks
        assert [list(b.vocabulary) for b in blocks[1:]] == (
            [] if vocabulary is None else [vocabulary]
        )


def test_what_is_left_when_a_process_ends_is_not_searched_for_cycles():
    code = (
        "import atexit, gc, sys\n"
        "from llmtokens.cli import main\n"
        "sys.argv = ['llmtokens', '--version']\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"
        "main()"
    )
    asked = [sys.executable, "-c", code]
    version, frozen = subprocess.run(
        asked, check=True, capture_output=True, text=True
    ).stdout.split("\n")[:2]
    assert version.startswith("llmtokens")
    assert int(frozen) > 10_000
