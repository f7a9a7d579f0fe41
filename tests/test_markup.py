"""HTML left in texts is told with its cure; what only looks like it is not."""

from __future__ import annotations

import html
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from surprise import Dataset, Reader

from llmtokens import HashingEncoder, LLMTokens, LLMTokensEASE
from llmtokens.datasets import load_items, load_movielens
from llmtokens.errors import LLMTokensWarning

SHOP = pd.DataFrame(
    {
        "item": ["A1", "A2", "A3", "A4"],
        "title": ["Tom & Jerry mug", "AT&T phone", "I <3 Paris tee", "<Untitled>"],
        "description": [
            "<p>A mug of <b>good</b> clay.</p><br/>5 < 6 cups",
            "<p>A phone &nbsp;with a cord</p>",
            None,
            "Canvas",
        ],
        "category": ["Home", "Phones", "Clothes", "Home"],
    }
)
MARKUP = [
    "<p>clay", "<P CLASS='x'>clay</P>", "clay<br>red", "clay<BR />red", "<li>clay", "<img src=x>",
    "<b>clay</b>", "<i>Dune</i>", '<a href="x">y', "</div>", "<!-- new --> clay", "clay &amp; sand",
    "it&rsquo;s", "it&#39;s", "it&#x27;s", "&nbsp;", "caf&eacute;",
]  # fmt: skip
PLAIN = [
    "I <3 you", "a < b > c", "AT&T", "R&B;", "Tom & Jerry", "<Untitled>", "<Your Name>", "List<A>",
    "Vector<String>", "rock&roll; pop", "Q&A; more", "if a<b; c>d", "?a=1&copy=2", "M&M's; red",
    "A<B and B>C", "-> here <-", "a <p", "[b]clay[/b]",
]  # fmt: skip


def made(frame, text="{title}. {description}", **more):
    return LLMTokens.from_frame(frame, text, encoder=HashingEncoder(), **more)


def told(texts):
    """Whether a table of these texts, beside plain ones, is warned of."""
    frame = pd.DataFrame({"item": range(len(texts) + 2), "title": [*texts, "sand", "lime"]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made(frame, "{title}")
    return [str(warning.message) for warning in caught if "HTML" in str(warning.message)]


def test_texts_with_html_are_counted_shown_and_left_as_they_are():
    with pytest.warns(
        LLMTokensWarning, match="'description': found HTML in 2 of 3 texts"
    ) as caught:
        tokens = made(SHOP)
    assert len(caught) == 1
    assert "'<p>A mug of <b>good</b> clay" in str(caught[0].message)
    assert caught[0].filename == __file__
    with pytest.warns(LLMTokensWarning, match="HTML"):
        texts = tokens.projection.blocks[0].texts(SHOP)
    assert texts[1] == "AT&T phone. <p>A phone &nbsp;with a cord</p>"


@pytest.mark.parametrize("text", MARKUP)
def test_a_text_with_html_is_told(text):
    (message,) = told([text])
    assert "found HTML in 1 of 3 texts" in message


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_that_only_looks_like_html_is_not_told(text):
    assert told([text]) == []


def test_what_the_message_says_to_do_is_enough_and_harms_nothing_else():
    shop = SHOP.assign(description=[*SHOP["description"][:3], "&lt;p&gt;I &lt;3 canvas&lt;/p&gt;"])
    with pytest.warns(LLMTokensWarning) as caught:
        made(shop)
    line = re.search(r"frame\['description'\] = .*na_action='ignore'\)", str(caught[0].message))[0]
    exec(line, {"frame": shop, "re": re, "html": html})
    assert [x if x is None or x != x else " ".join(x.split()) for x in shop["description"]] == [
        "A mug of good clay. 5 < 6 cups", "A phone with a cord", pytest.approx(np.nan, nan_ok=True),
        "I <3 canvas",
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(shop)


def test_labels_texts_and_new_content_with_html_are_told():
    plain = SHOP.assign(description="clay")
    with pytest.warns(LLMTokensWarning, match="'category': found HTML in 1 of 4"):
        made(plain.assign(category=["Home &amp; Garden", "Phones", "Clothes", "Phones"]),
             categorical="category")  # fmt: skip
    with pytest.warns(LLMTokensWarning, match="found HTML in 1 of 2"):
        LLMTokens.from_texts([1, 2], ["<p>clay</p>", "sand"], encoder=HashingEncoder())
    tokens = made(plain)
    with pytest.warns(LLMTokensWarning, match="'description': found HTML in 1 of 1"):
        tokens.transform(SHOP.iloc[:1])


@pytest.fixture(scope="module")
def algo():
    """Items and users with texts of their own."""
    plain = SHOP.assign(description="clay")
    users = pd.DataFrame({"user": ["a", "b", "c"], "about": ["clay", "phones", "tees"]})
    frame = pd.DataFrame([(u, i, 1 + k) for u in "abc" for k, i in enumerate(SHOP["item"])])
    trainset = Dataset.load_from_df(frame, Reader()).build_full_trainset()
    user_tokens = LLMTokens.from_frame(users, "{about}", encoder=HashingEncoder())
    return LLMTokensEASE(made(plain), user_tokens=user_tokens).fit(trainset)


def test_what_a_fitted_model_is_told_in_a_text_with_html_is_told_once(algo):
    for tell in (
        lambda content: algo.fold_in_item("A9", content=content),
        lambda content: algo.fold_in("d", content=content),
        lambda content: algo.recommend(content=content),
    ):
        with pytest.warns(LLMTokensWarning, match="content: found HTML in the text") as caught:
            tell("A <b>mug</b> of clay")
        assert len(caught) == 1
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tell("A mug of clay, <3")


def test_the_line_that_takes_html_out_of_a_text_is_enough(algo):
    content = "A <b>mug</b> &amp; a cup"
    with pytest.warns(LLMTokensWarning) as caught:
        algo.fold_in_item("A9", content=content)
    line = re.search(r"content = re.* html\.unescape\(content\)\)", str(caught[0].message))[0]
    told = {"content": content, "re": re, "html": html}
    exec(line, told)
    assert told["content"].split() == ["A", "mug", "&", "a", "cup"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        algo.fold_in_item("A9", content=told["content"])


def test_columns_of_what_a_fitted_model_is_told_are_told(algo):
    for content in (SHOP.iloc[0].to_dict(), SHOP.iloc[0], SHOP.iloc[:1]):
        with pytest.warns(LLMTokensWarning, match="'description': found HTML in 1 of 1") as caught:
            algo.fold_in_item("A9", content=content)
        assert len(caught) == 1
        assert caught[0].filename == __file__


def test_entities_of_a_file_are_decoded_and_its_tags_told(tmp_path):
    path = tmp_path / "shop.csv"
    path.write_text("item,title,description\n1,Tom &amp; Jerry,<p>A mug</p>\n2,Sand,Lime\n")
    items = load_items(path)
    assert items["title"][0] == "Tom & Jerry"
    with pytest.warns(LLMTokensWarning, match="found HTML in 1 of 2") as caught:
        made(items)
    assert len(caught) == 1


def test_titles_of_films_are_not_taken_for_html(ml_small_folder):
    items = load_movielens(str(ml_small_folder)).items
    assert told(items["title"].tolist()) == []
