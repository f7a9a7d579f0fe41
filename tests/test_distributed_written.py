"""Lists and embeddings that workers write to files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, make
from pandas.testing import assert_frame_equal
from sharded import workers

from llmtokens import HashingEncoder
from llmtokens.distributed import encode, recommend_all, written
from llmtokens.errors import DataError, LLMTokensWarning, StorageError

TEXTS = pd.DataFrame({"item": range(30), "text": [f"a film about {k}" for k in range(30)]})


@pytest.fixture(scope="module")
def client():
    with workers(2) as found:
        yield found


def test_lists_for_all_are_those_of_one_process(client, tmp_path, monkeypatch):
    algo = make("LLMTokensEASE").fit(DATA.dataset.build_full_trainset())
    algo.save(tmp_path / "model")
    monkeypatch.setattr(written, "_USERS", 7)
    folder = recommend_all(tmp_path / "model", tmp_path / "lists", client, n=3)
    parts = sorted(folder.iterdir())
    assert len(parts) == -(-algo.model_.users.unknown // 7)
    found = pd.concat(map(pd.read_parquet, parts), ignore_index=True)
    assert_frame_equal(found, algo.recommend_all(3).reset_index(drop=True), check_dtype=False)


def test_a_model_that_is_replaced_is_read_again(client, tmp_path):
    for n_users in (10, 20):
        few = DATA.dataset.df[DATA.dataset.df["user"] <= n_users]
        algo = make("LLMTokensEASE").fit(
            type(DATA.dataset).load_from_df(few, DATA.dataset.reader).build_full_trainset()
        )
        algo.save(tmp_path / "model")
        lists = pd.read_parquet(recommend_all(tmp_path / "model", tmp_path / "lists", client, 2))
        assert lists["user"].nunique() == algo.model_.users.unknown


def test_embeddings_are_those_of_one_process(client, tmp_path):
    TEXTS.to_parquet(tmp_path / "texts.parquet", row_group_size=10)
    expected = HashingEncoder().encode(TEXTS["text"].tolist())
    frames = pytest.importorskip("dask.dataframe")
    for k, texts in enumerate((tmp_path / "texts.parquet", frames.from_pandas(TEXTS, 3))):
        made = pd.read_parquet(encode(texts, tmp_path / str(k), client, HashingEncoder()))
        assert made["item"].tolist() == TEXTS["item"].tolist()
        np.testing.assert_array_equal(np.stack(made["embedding"]), expected)


def test_html_in_texts_of_all_parts_is_told_once(client, tmp_path):
    texts = TEXTS.assign(text=[f"<p>a film</p> {k}" if k % 3 else "" for k in range(30)])
    texts.to_parquet(tmp_path / "texts.parquet")
    frames = pytest.importorskip("dask.dataframe")
    for k, given in enumerate((tmp_path / "texts.parquet", frames.from_pandas(texts, 3))):
        with pytest.warns(LLMTokensWarning, match="'text': found HTML in 20 of 20") as caught:
            encode(given, tmp_path / str(k), client, HashingEncoder())
        assert len([x for x in caught if "HTML" in str(x.message)]) == 1


def test_what_cannot_be_written_or_read_is_named(client, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not make the folder"):
        recommend_all(tmp_path / "model", tmp_path / "file" / "lists", client)
    with pytest.raises(StorageError, match="could not read .*model"):
        recommend_all(tmp_path / "model", tmp_path / "lists", client)
    with pytest.raises(DataError, match="found client=None; expected a distributed"):
        encode(tmp_path, tmp_path, None)
    with pytest.raises(DataError, match="found texts of type DataFrame; expected a folder"):
        encode(TEXTS, tmp_path / "made", client)
    TEXTS.to_parquet(tmp_path / "texts.parquet")
    with pytest.raises(DataError, match="expected item and title, each once"):
        encode(tmp_path / "texts.parquet", tmp_path / "made", client, text="title")
