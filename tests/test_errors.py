"""Every error a public function is said to raise, provoked, and read as its user would.

The table names a public function, an error, how to meet it, and what its message must say: what
was found, and what was expected or what to do about it.
"""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from algorithms import DATA, TOKENS, USER_TOKENS, full, make
from public_api import ERRORS, callables, documented, raised
from surprise import SVD, Dataset, Prediction, Reader
from surprise.model_selection import KFold

import llmtokens
from llmtokens import (
    HashingEncoder,
    ImageEncoder,
    LLMTokens,
    LLMTokensContent,
    LLMTokensEASE,
    LLMTokensSVD,
    SentenceEncoder,
    StaticEncoder,
    TokenReducer,
    metrics,
    plots,
)
from llmtokens.compare import Comparison, compare
from llmtokens.controls import UserMean, random_like, shuffled
from llmtokens.curves import learning_curve
from llmtokens.data.ratings import Ratings
from llmtokens.datasets import (
    load_events,
    load_items,
    load_movielens,
    load_ratings,
    news_feed,
    shop_events,
    synthetic,
)
from llmtokens.distributed import cluster, encode, fit_bpmf, on_workers, recommend_all
from llmtokens.encode import cached, check_texts, fine_tune, models, restore_encoder
from llmtokens.errors import (
    AlignmentError,
    DataError,
    DivergenceError,
    FileFormatError,
    LLMTokensError,
    MissingExtraError,
    ModelNotFoundError,
    NotFittedError,
    StorageError,
)
from llmtokens.metrics import rank_all, rank_rated
from llmtokens.model_selection import ColdItemKFold, TimeSplit, replay
from llmtokens.report import report
from llmtokens.serve import create_app, serve
from llmtokens.tokens.centred import Centred

PUBLIC = callables()
SMALL = synthetic(n_users=12, n_items=20, n_ratings=120, random_state=0)
VECTORS = LLMTokens.from_embeddings(["a", "b", "c"], np.eye(3))
FRAME = pd.DataFrame({"item": [1, 2, 3], "title": ["one", "two", "three"], "year": [1, 2, "x"]})
SEEN = [Prediction("u", "a", 4.0, 3.5, {}), Prediction("u", "b", 2.0, 3.0, {})]
LISTS = rank_rated(SEEN)


class Foreign:
    """An encoder whose weights are not at hand."""

    name, revision = "some/model", "1"

    def encode(self, texts):
        return HashingEncoder(8).encode(texts)


@pytest.fixture(scope="module")
def shared():
    """What is made once: fitted algorithms, comparisons, tokens of an encoder that has gone."""
    trainset = DATA.dataset.build_full_trainset()
    raw_ids = LLMTokensSVD(n_factors=2, n_epochs=1).fit(full([(("u", 1), 1, 3.0), ("b", 2, 4.0)]))
    given = {"splits": {"warm": KFold(2, random_state=0)}, "progress": False, "measures": ["rmse"]}
    return SimpleNamespace(
        algo=make("LLMTokensSVD").fit(trainset),
        plain=make("LLMTokensSVD, no tokens").fit(trainset),
        bpmf=make("LLMTokensBPMF, no tokens").fit(trainset),
        mean=UserMean().fit(trainset),
        raw_ids=raw_ids,
        trainset=trainset,
        compared=compare({"mean": UserMean()}, SMALL, **given),
        kept=compare({"mean": UserMean()}, SMALL, **given, keep_predictions=True),
        curve=learning_curve(
            {"mean": UserMean()}, SMALL, n_given=[0, 1], n_splits=2, progress=False
        ),
        plotted=compare(
            {"mean": UserMean(), "bpmf": make("LLMTokensBPMF, no tokens")},
            SMALL,
            **given,
            keep_predictions=True,
        ),
    )


@pytest.fixture
def at(shared, tmp_path, monkeypatch):
    """The shared things, a folder, files that are none, and ways to hide a package."""
    (tmp_path / "noise").write_bytes(b"noise" * 9)
    (tmp_path / "noise.parquet").write_bytes(b"noise" * 9)
    (tmp_path / "bad.csv").write_bytes(b"user,item,rating\n1,2,3\n1,2,3,4,5\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    TOKENS.save(tmp_path / "tokens")

    def without(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    def forgotten():
        """Tokens whose encoder is known by name alone, as after loading them from a file."""
        LLMTokens.from_texts([1, 2], ["one", "two"], encoder=Foreign()).save(tmp_path / "foreign")
        return LLMTokens.load(tmp_path / "foreign")

    return SimpleNamespace(
        **vars(shared), folder=tmp_path, nowhere=tmp_path / "no" / "file", without=without,
        forgotten=forgotten, noise=tmp_path / "noise.parquet",
    )  # fmt: skip


def tokens_with(ids):
    return LLMTokens.from_embeddings(ids, np.eye(len(ids)))


def frame_of(**columns):
    return pd.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [3.0, 4.0]} | columns)


def on_cluster(call, source, at, n_workers=1):
    """What a call that writes into a folder does with a client of so many workers."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.Client(n_workers=n_workers, processes=False, dashboard_address=":0") as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        if not n_workers:
            patch.setattr(cluster, "_PATIENCE", 0.1)
        call(source, at.folder, client)


def placed_elsewhere():
    """The tokens of a cluster that is not this process's, as a pickle of them would come here."""
    distributed = pytest.importorskip("distributed")
    with distributed.Client(n_workers=0, processes=False, dashboard_address=":0") as client:
        pickled = pickle.dumps(on_workers(VECTORS, client))
    return pickle.loads(pickled)


def encode_without(at, encode):
    at.without("sentence_transformers")
    encode(SentenceEncoder(at.folder / "model", cache=False))


def ask_of_the_forgotten(at):
    algo = LLMTokensSVD(item_tokens=at.forgotten(), n_factors=2, n_epochs=1)
    algo.fit(full([(1, 1, 3.0), (2, 2, 4.0)])).ask("one")


def from_parts_with_an_id_twice(at):
    payload, arrays = at.algo.to_parts()
    payload["users"][1] = payload["users"][0]
    LLMTokensSVD.from_parts(payload, arrays)


def explain_by_a_model_of_extremes(at):
    """As a damaged file with a right checksum may hold; found by the fuzzing harness."""
    algo, model = copy.copy(at.bpmf), at.bpmf.model_
    algo.model_ = replace(model, item_samples=np.full_like(model.item_samples, 2e8))
    algo.explain(1, 2)


def unfitted(call):
    return NotFittedError, lambda at: call(LLMTokensSVD()), "LLMTokensSVD is not", "call fit first"


def no_plots(call):
    def provoke(at):
        at.without("matplotlib", "matplotlib.figure")
        call(at)

    return (
        MissingExtraError,
        provoke,
        "matplotlib, which is not",
        r"pip install 'llmtokens\[plots\]'",
    )


TWICE = "found 1 duplicate ids, the first being 1"
DROP = "drop the duplicates"
NO_PREDICTIONS = (DataError, "found no predictions", r"expected the result of algo.test\(testset\)")
ONE_TEXT = (DataError, "got one str", r"pass \[text\]")
NO_FILE = (StorageError, "could not read .*file", "check the path")
NO_PLACE = (StorageError, "could not write .*file", "Check that the folder exists")
OTHER_IDS = (DataError, r"ids that a file cannot hold: \('u', 1\)", "expected str, int or float")
NO_MODEL = (ModelNotFoundError, "no weights for 'no/such'", "pass a local folder")
NO_ENCODER = (ModelNotFoundError, "made with the encoder 'some/model'", r"encoder=")
DAMAGED = (FileFormatError, "is not a whole safetensors file", "damaged, cut short")
BROKEN_MODEL = (FileFormatError, "cannot be loaded by sentence-transformers", "folder of a model")
NO_PACKAGE = (MissingExtraError, "needs sentence-transformers", "pip install")
NO_CLOSED_FORM = "UserMean cannot be saved or extended"


def events(**further):
    row = {"user": [1], "item": [2], "event": ["view"], "timestamp": [3]}
    return load_events(pd.DataFrame(row), **further)


class Idle(LLMTokensEASE):
    """Its fit learns nothing."""

    def fit(self, trainset):
        return self


CASES = [
    # tokens
    ("LLMTokens.from_frame", DataError, lambda at: LLMTokens.from_frame(FRAME, "{plot}"),
     "found the columns .*'title'", r"expected also \['plot'\]: rename"),
    ("LLMTokens.from_frame", DataError, lambda at: LLMTokens.from_frame(FRAME, numeric=["year"]),
     "'year' is not numeric: .*x", "expected numbers"),
    ("LLMTokens.from_frame", DataError, lambda at: LLMTokens.from_frame(FRAME),
     "found no text, image, categorical or numeric columns", "name at least one"),
    ("LLMTokens.from_texts", DataError, lambda at: LLMTokens.from_texts([1, 1], ["a", "b"]),
     TWICE, DROP),
    ("LLMTokens.from_texts", DataError, lambda at: LLMTokens.from_texts([1, None], ["a", "b"]),
     "found rows without an id, at positions 1", "drop them"),
    ("LLMTokens.from_texts", DataError,
     lambda at: LLMTokens.from_texts([1, 2], ["a", ""], encoder=HashingEncoder()),
     "1 of 2 ids have no content, the first being 2", "drop these ids"),
    ("LLMTokens.from_embeddings", DataError, lambda at: LLMTokens.from_embeddings("ab", np.eye(3)),
     "found 2 ids and 3 rows", "expected one row per id"),
    ("LLMTokens.from_embeddings", DataError,
     lambda at: LLMTokens.from_embeddings("ab", [[1.0, np.nan], [0, 1]]),
     "NaN, infinite or beyond 1e[+]60 in 1 rows, the first being 0", "drop these rows"),
    ("LLMTokens.concat", DataError, lambda at: LLMTokens.concat([]),
     "found no tokens", "expected at least one table"),
    ("LLMTokens.transform", DataError, lambda at: VECTORS.transform(np.eye(2)),
     "found embeddings of 2 dims", "expected 3"),
    ("LLMTokens.transform", ModelNotFoundError, lambda at: at.forgotten().transform(["three"]),
     *NO_ENCODER[1:]),
    ("LLMTokens.query", DataError, lambda at: VECTORS.query("words"),
     "made without text", "expected tokens of from_frame or from_texts"),
    ("LLMTokens.query", ModelNotFoundError, lambda at: at.forgotten().query("x"), *NO_ENCODER[1:]),
    ("LLMTokens.embed", DataError, lambda at: VECTORS.embed("words"),
     "text encoders none", "expected exactly one"),
    ("LLMTokens.embed", ModelNotFoundError, lambda at: at.forgotten().embed("x"), *NO_ENCODER[1:]),
    ("LLMTokens.with_content", DataError, lambda at: VECTORS.with_content("d", np.eye(3)),
     "found the content of 3 ids", "expected that of one"),
    ("LLMTokens.with_content", ModelNotFoundError,
     lambda at: at.forgotten().with_content(3, "x"), *NO_ENCODER[1:]),
    ("LLMTokens.from_history", DataError,
     lambda at: LLMTokens.from_history(frame_of(item=["x", "y"]), VECTORS),
     "no rating of an item that has a token", "expected the ids of the ratings"),
    ("LLMTokens.require_unseen", DataError,
     lambda at: LLMTokens.from_history(frame_of(user="u", item=["a", "b"]), VECTORS)
     .require_unseen(Ratings.from_trainset(full([("u", "a", 3.0)]))),
     "'u' with 2 ratings in the tokens and 1 here", 'user_tokens="history"'),
    ("LLMTokens.save", StorageError, lambda at: TOKENS.save(at.nowhere), *NO_PLACE[1:]),
    ("LLMTokens.save", DataError, lambda at: tokens_with([("u", 1), "b"]).save(at.folder / "x"),
     *OTHER_IDS[1:]),
    ("LLMTokens.to_parts", DataError, lambda at: tokens_with([("u", 1), "b"]).to_parts(),
     *OTHER_IDS[1:]),
    ("LLMTokens.load", StorageError, lambda at: LLMTokens.load(at.nowhere), *NO_FILE[1:]),
    ("LLMTokens.load", FileFormatError, lambda at: LLMTokens.load(at.folder / "noise"),
     *DAMAGED[1:]),
    ("LLMTokens.from_parts", FileFormatError, lambda at: LLMTokens.from_parts(None, {}, None),
     "found None", "expected a table of tokens"),
    ("LLMTokens.reduced", DataError, lambda at: VECTORS.reduced(9),
     "found n_components=9", "expected at most 3"),
    ("TokenReducer.fit", DataError, lambda at: TokenReducer(whiten=2).fit(np.eye(3)),
     "found whiten=2", "expected a number from 0 to 1"),
    ("TokenReducer.fit_centred", DataError,
     lambda at: TokenReducer(0).fit_centred(Centred([np.eye(3)], [np.zeros(3)], [np.ones(3, bool)]),
                                            np.zeros(3)),
     "found n_components=0", "expected at least 1"),
    # encoders
    ("HashingEncoder.encode_sparse", DataError,
     lambda at: HashingEncoder(0).encode_sparse(["a"]),
     "HashingEncoder", "expected n_features >= 1"),
    ("HashingEncoder.encode", DataError, lambda at: HashingEncoder().encode("text"), *ONE_TEXT[1:]),
    ("HashingEncoder.encode", DataError, lambda at: HashingEncoder(10**9).encode(["a"] * 9999),
     "found 9,999 texts of n_features=1,000,000,000 take 39,996 GB", "sparse"),
    ("HashingEncoder.encode", DataError, lambda at: HashingEncoder(0).encode(["text"]),
     r"HashingEncoder\(n_features=0", "expected n_features >= 1"),
    ("check_texts", DataError, lambda at: check_texts(["a", None]),
     "1 of 2 texts are not strings: None at position 1", "fill in a text"),
    ("cached", DataError, lambda at: cached(HashingEncoder(), "text"), *ONE_TEXT[1:]),
    ("restore_encoder", ModelNotFoundError, lambda at: restore_encoder("some/model", "1"),
     *NO_ENCODER[1:]),
    ("SentenceEncoder.encode", DataError, lambda at: SentenceEncoder().encode("text"),
     *ONE_TEXT[1:]),
    ("SentenceEncoder.batches", DataError,
     lambda at: list(SentenceEncoder(prompt_name="none").batches(["a"])),
     "found prompt_name=", "expected one of"),
    ("SentenceEncoder.encode", DataError, lambda at: SentenceEncoder(batch_size=0).encode(["a"]),
     "found 0", "expected batch_size >= 1"),
    *[(f"SentenceEncoder.{name}", error, provoke, *says)
      for name, call in {
          "encode": lambda encoder: encoder.encode(["a"]),
          "encode_query": lambda encoder: encoder.encode_query("a"),
          "batches": lambda encoder: list(encoder.batches(["a"])),
      }.items()
      for (error, *says), provoke in [
          (NO_MODEL, lambda at, call=call: call(SentenceEncoder("no/such", cache=False))),
          (BROKEN_MODEL,
           lambda at, call=call: call(SentenceEncoder(at.folder / "model", cache=False))),
          (NO_PACKAGE, lambda at, call=call: encode_without(at, call)),
      ]],
    ("SentenceEncoder.encode_query", DataError,
     lambda at: SentenceEncoder(at.folder / "model").encode_query(None),
     "texts are not strings: None", "fill in a text"),
    ("StaticEncoder.encode", DataError, lambda at: StaticEncoder("a/b").encode("text"),
     *ONE_TEXT[1:]),
    ("StaticEncoder.encode", ModelNotFoundError, lambda at: StaticEncoder("no/such").encode(["a"]),
     *NO_MODEL[1:]),
    ("StaticEncoder.encode", FileFormatError,
     lambda at: StaticEncoder(at.folder / "model").encode(["a"]),
     "cannot be loaded as a static model", "expected the folder of one"),
    ("StaticEncoder.encode", MissingExtraError,
     lambda at: (at.without("sentence_transformers"),
                 StaticEncoder(at.folder / "model").encode(["a"])),
     *NO_PACKAGE[1:]),
    ("ImageEncoder.encode", DataError, lambda at: ImageEncoder("a/b").encode(["no/such"]),
     "1 of 1 images cannot be read: 'no/such' in row 0", "expected paths of image files"),
    ("ImageEncoder.batches", DataError,
     lambda at: list(ImageEncoder(models.find(None).location).batches(["a.png"])),
     "which reads 'text'", "expected a model that reads images"),
    *[(f"ImageEncoder.{name}", error, provoke, *says)
      for name, call in {
          "encode": lambda encoder: encoder.encode([""]),
          "batches": lambda encoder: list(encoder.batches(["a.png"])),
      }.items()
      for (error, *says), provoke in [
          (NO_MODEL, lambda at, call=call: call(ImageEncoder("no/such", cache=False))),
          (BROKEN_MODEL, lambda at, call=call: call(ImageEncoder(at.folder / "model"))),
          (NO_PACKAGE,
           lambda at, call=call: (at.without("sentence_transformers"),
                                  call(ImageEncoder(at.folder / "model")))),
      ]],
    ("fine_tune", DataError,
     lambda at: fine_tune(SentenceEncoder(), SMALL.ratings[["user"]], {}, at.folder / "new"),
     "found the columns", "expected also"),
    ("fine_tune", MissingExtraError,
     lambda at: (at.without("datasets"),
                 fine_tune(SentenceEncoder(), SMALL.ratings,
                           dict.fromkeys(SMALL.items["item"], "a"), at.folder / "new")),
     "fine-tuning needs datasets", "pip install"),
    # fitting and predicting
    ("LLMTokensSVD.fit", DataError, lambda at: LLMTokensSVD().fit(full([("a", 1, np.nan)])),
     r"1 ratings that are NaN.*\('a', 1, nan\)", "drop or replace them"),
    ("LLMTokensSVD.fit", DataError, lambda at: LLMTokensSVD(n_factors=0).fit(at.trainset),
     "found n_factors=0", "expected an int of at least 1"),
    ("LLMTokensSVD.fit", DataError, lambda at: LLMTokensEASE(l2=-1.0).fit(at.trainset),
     "found l2=-1.0", "expected"),
    ("LLMTokensSVD.fit", DataError, lambda at: UserMean(-1).fit(at.trainset),
     "found shrinkage=-1", "expected a number of 0 or more"),
    ("LLMTokensSVD.fit", DataError, lambda at: LLMTokensSVD(random_state=-1).fit(at.trainset),
     "found random_state=-1", "expected None, an int from 0"),
    ("LLMTokensSVD.fit", DataError, lambda at: make("LLMTokensBPMF", n_samples=0).fit(at.trainset),
     "found n_samples=0", "expected"),
    ("LLMTokensSVD.fit", DivergenceError,
     lambda at: make("LLMTokensSVD, no tokens", lr_all=1e6).fit(at.trainset),
     "training diverged: .* holds NaN", "lower the learning rates"),
    ("LLMTokensSVD.fit", AlignmentError, lambda at: LLMTokensSVD([1, 2]).fit(at.trainset),
     "found item_tokens of type list", "expected LLMTokens: build them with"),
    ("LLMTokensSVD.fit", AlignmentError,
     lambda at: make("LLMTokensSVD").fit(full([(1, "zzz", 3.0), (2, "yyy", 4.0)])),
     f"0 of 2 item ids.*'zzz', 'yyy'.*{TOKENS.ids[0]}", "build the tokens from the same item ids"),
    ("LLMTokensContent", DataError, lambda at: LLMTokensContent().fit(at.trainset),
     "found item_tokens=None", "pass item_tokens="),
    ("LLMTokensContent", DataError, lambda at: LLMTokensContent(TOKENS, "x").fit(at.trainset),
     "found method='x'", "expected 'ridge' or 'cosine'"),
    *[(name, *unfitted(call)) for name, call in {
        "LLMTokensSVD.predict": lambda algo: algo.predict(1, 1),
        "LLMTokensSVD.test": lambda algo: algo.test([(1, 1, 3.0)]),
        "LLMTokensSVD.estimate": lambda algo: algo.estimate(0, 0),
        "LLMTokensSVD.recommend": lambda algo: algo.recommend(1),
        "LLMTokensSVD.recommend_all": lambda algo: algo.recommend_all(),
        "LLMTokensSVD.ask": lambda algo: algo.ask("space"),
        "LLMTokensSVD.similar_items": lambda algo: algo.similar_items(1),
        "LLMTokensSVD.similar_users": lambda algo: algo.similar_users(1),
        "LLMTokensSVD.portrait": lambda algo: algo.portrait(1),
        "LLMTokensSVD.explain": lambda algo: algo.explain(1, 1),
        "LLMTokensSVD.fold_in": lambda algo: algo.fold_in(1, {1: 3.0}),
        "LLMTokensSVD.fold_in_item": lambda algo: algo.fold_in_item(1, "text"),
        "LLMTokensSVD.partial_fit": lambda algo: algo.partial_fit([(1, 1, 3.0)]),
        "LLMTokensSVD.forget": lambda algo: algo.forget(1),
        "LLMTokensSVD.save": lambda algo: algo.save("model"),
        "LLMTokensSVD.to_parts": lambda algo: algo.to_parts(),
        "metrics.rank_all": lambda algo: rank_all(algo, [(1, 1, 3.0)]),
    }.items()],
    # serving
    ("LLMTokensSVD.recommend", DataError, lambda at: at.algo.recommend(1, n=0),
     "found n=0", "expected an int of at least 1"),
    ("LLMTokensSVD.recommend", DataError, lambda at: at.algo.recommend(1, diversity=2),
     "found diversity=2", "expected a number from 0 to 1"),
    ("LLMTokensSVD.recommend", DataError,
     lambda at: at.algo.recommend(1, popularity_penalty=np.inf),
     "found popularity_penalty=inf", "expected a finite number"),
    ("LLMTokensSVD.recommend", DataError, lambda at: at.plain.recommend(1, diversity=0.5),
     "this algorithm has none", "fit (it )?with item_tokens"),
    ("LLMTokensSVD.recommend", DataError, lambda at: at.algo.recommend(1, candidates=["zzz"]),
     "'zzz'", "expected ids with ratings or a token"),
    ("LLMTokensSVD.recommend", DataError, lambda at: at.algo.recommend(1, where="price < 3"),
     "found the column 'price'", "expected one of 'item'"),
    ("LLMTokensSVD.recommend", DataError, lambda at: at.algo.recommend(1, where="open('x')"),
     r"found \"open\('x'\)\" in where=", "expected comparisons of columns"),
    ("LLMTokensSVD.recommend", DataError, lambda at: at.algo.recommend(),
     "found neither uid nor content", "expected the id of a user, or words"),
    ("LLMTokensSVD.recommend_all", DataError, lambda at: at.algo.recommend_all(n=0),
     "found n=0", "expected an int of at least 1"),
    ("LLMTokensSVD.explain", DataError, explain_by_a_model_of_extremes,
     r"ratings of user 1 cannot be computed \(Singular", "fit it again"),
    ("LLMTokensSVD.similar_items", DataError, lambda at: at.plain.similar_items("zzz"),
     "found the item 'zzz', which is unknown", "expected one with ratings or a token"),
    ("LLMTokensSVD.similar_items", DataError, lambda at: at.plain.similar_items(1),
     "found 1, which has no token", "expected item_tokens"),
    ("LLMTokensSVD.similar_users", DataError, lambda at: at.algo.similar_users(1, by="x"),
     "found by='x'", "expected 'text' or 'ratings'"),
    ("LLMTokensSVD.portrait", DataError, lambda at: at.algo.portrait("zzz"),
     "found the user 'zzz', which is unknown", "expected one with ratings or a token"),
    ("LLMTokensSVD.portrait", DataError, lambda at: at.plain.portrait(1),
     "no item_tokens", "fit with item_tokens"),
    ("LLMTokens.similar", DataError, lambda at: TOKENS.similar("zzz"),
     "found the id 'zzz'", "expected one of"),
    ("LLMTokens.describe", DataError, lambda at: TOKENS.describe(0),
     "found k=0", "at least 1"),
    ("LLMTokens.describe", DataError, lambda at: TOKENS.describe(texts=["one"]),
     "found 1 texts for 90 ids", "expected one per id"),
    ("LLMTokens.similarities", DataError, lambda at: TOKENS.similarities("zzz"),
     "found the id 'zzz'", "expected one of"),
    ("LLMTokensSVD.ask", DataError, lambda at: at.plain.ask("space"),
     "no item_tokens", "fit (it )?with item_tokens"),
    ("LLMTokensSVD.ask", DataError, lambda at: at.algo.ask([]),
     "found no question", "expected a text, or several"),
    ("LLMTokensSVD.ask", DataError, lambda at: at.algo.ask("space", weight=2),
     "found weight=2", "expected a number from 0 to 1"),
    ("LLMTokensSVD.ask", ModelNotFoundError, ask_of_the_forgotten, *NO_ENCODER[1:]),
    ("LLMTokensSVD.fold_in", DataError, lambda at: at.algo.fold_in("new", {"zzz": 3.0}),
     "1 unknown item ids: 'zzz'", "add them with fold_in_item first"),
    ("LLMTokensSVD.fold_in", DataError, lambda at: at.algo.fold_in("new", {TOKENS.ids[0]: np.nan}),
     "ratings that are NaN or infinite: .*nan", "drop or replace them"),
    ("LLMTokensSVD.fold_in", DataError, lambda at: at.algo.fold_in("new", [3.0]),
     "ratings must be pairs .*float", r"\(id, rating\)"),
    ("LLMTokensSVD.fold_in", DataError, lambda at: at.algo.fold_in("new", {}),
     "found neither ratings nor content of 'new'", "expected either"),
    ("LLMTokensSVD.fold_in", DataError, lambda at: at.algo.fold_in("new", content="storms"),
     "no user_tokens", "fit with user_tokens"),
    ("LLMTokensSVD.fold_in", DataError,
     lambda at: at.algo.fold_in("new", {TOKENS.ids[0]: 3.0}, half_life=2.0),
     "found only one of them", "timestamps and half_life go together"),
    ("LLMTokensSVD.fold_in", LLMTokensError,
     lambda at: at.mean.fold_in("new", {DATA.items["item"][0]: 3}),
     NO_CLOSED_FORM, "call fit"),
    ("LLMTokensSVD.fold_in_item", DataError, lambda at: at.algo.fold_in_item("new", {"plot": "x"}),
     "found 'plot' in the content", "expected some of .*title"),
    ("LLMTokensSVD.fold_in_item", DataError, lambda at: at.algo.fold_in_item("new"),
     "found neither content nor ratings of 'new'", "expected either"),
    ("LLMTokensSVD.fold_in_item", DataError, lambda at: at.plain.fold_in_item("new", "text"),
     "no item_tokens", "fit (it )?with item_tokens"),
    ("LLMTokensSVD.fold_in_item", LLMTokensError,
     lambda at: at.mean.fold_in_item("new", ratings={DATA.ratings["user"][0]: 3}),
     NO_CLOSED_FORM, "call fit"),
    ("LLMTokensSVD.partial_fit", DataError, lambda at: at.algo.partial_fit([(1, 2)]),
     r"found rows such as \(1, 2\)", r"expected rows of \(user, item, rating\)"),
    ("LLMTokensSVD.partial_fit", LLMTokensError, lambda at: at.mean.partial_fit([(1, 2, 3.0)]),
     NO_CLOSED_FORM, "call fit"),
    ("LLMTokensSVD.forget", DataError, lambda at: at.algo.forget("nobody"),
     "found the user 'nobody', who is unknown", "expected one to forget"),
    ("LLMTokensSVD.forget", LLMTokensError, lambda at: at.mean.forget(DATA.ratings["user"][0]),
     "cannot be saved or extended", "add the ratings to the trainset and call fit"),
    ("create_app", StorageError, lambda at: create_app(at.nowhere), *NO_FILE[1:]),
    ("create_app", FileFormatError, lambda at: create_app(at.folder / "noise"), *DAMAGED[1:]),
    ("serve", DataError, lambda at: serve("model", "0.0.0.0"),
     "found host='0.0.0.0', which other machines may reach, and no token", "set LLMTOKENS_TOKEN"),
    ("serve", StorageError, lambda at: serve(at.nowhere), *NO_FILE[1:]),
    ("serve", FileFormatError, lambda at: serve(at.folder / "noise"), *DAMAGED[1:]),
    ("serve", MissingExtraError, lambda at: (at.without("uvicorn"), serve("model")),
     "needs uvicorn", r"pip install 'llmtokens\[serve\]'"),
    # files
    ("LLMTokensSVD.save", StorageError, lambda at: at.algo.save(at.nowhere), *NO_PLACE[1:]),
    ("LLMTokensSVD.save", DataError, lambda at: at.raw_ids.save(at.folder / "x"), *OTHER_IDS[1:]),
    ("LLMTokensSVD.save", LLMTokensError, lambda at: at.mean.save(at.folder / "x"),
     "UserMean cannot be saved", "expected one of .*LLMTokensSVD"),
    ("LLMTokensSVD.load", StorageError, lambda at: LLMTokensSVD.load(at.nowhere), *NO_FILE[1:]),
    ("LLMTokensSVD.load", FileFormatError, lambda at: LLMTokensSVD.load(at.folder / "noise"),
     *DAMAGED[1:]),
    ("LLMTokensSVD.to_parts", DataError, lambda at: at.raw_ids.to_parts(), *OTHER_IDS[1:]),
    ("LLMTokensSVD.to_parts", LLMTokensError, lambda at: at.mean.to_parts(),
     "cannot be saved or extended", "add the ratings to the trainset and call fit"),
    ("LLMTokensSVD.from_parts", DataError, from_parts_with_an_id_twice,
     "found 1 duplicate ids, the first being 1", "expected one row per id"),
    ("LLMTokensSVD.predict", DataError, lambda at: at.algo.predict(1, 1, at="soon"),
     "found at='soon'", "expected an algorithm with timestamps"),
    ("LLMTokensSVD.test", DataError, lambda at: at.algo.test(pd.DataFrame({"user": [1]})),
     "found", "expected"),
    ("LLMTokensSVD.from_parts", FileFormatError, lambda at: LLMTokensSVD.from_parts(None, {}),
     "expected the parts", "parameters"),
    ("load", StorageError, lambda at: llmtokens.load(at.nowhere), *NO_FILE[1:]),
    ("load", FileFormatError, lambda at: llmtokens.load(at.folder / "tokens"),
     "holds 'tokens'", "expected one of .*LLMTokensSVD"),
    # data
    ("load_ratings", DataError, lambda at: load_ratings(frame_of(), user="who"),
     "no column 'who'; there are 'user'", "Name yours with user, item"),
    ("load_ratings", DataError, lambda at: load_ratings(frame_of(rating=[3.0, np.inf])),
     r"1 of 2 ratings \[row 1 \(user 2, item 2\): inf\]", "Drop them"),
    ("load_ratings", DataError, lambda at: load_ratings(frame_of(), rating_scale=(1, 3)),
     "outside the rating scale 1 to 3", "Give the true rating_scale"),
    ("load_ratings", DataError, lambda at: load_ratings(frame_of(user=[1, None])),
     "1 ratings have no user id", "Drop them"),
    ("load_ratings", AlignmentError,
     lambda at: load_ratings(frame_of(), pd.DataFrame({"item": ["x", "y"]})),
     r"none of its 2 ids in 'item' \('x', 'y'\) is among the 2 of the ratings \(1, 2\)",
     "expected the same ids"),
    ("load_ratings", StorageError, lambda at: load_ratings(at.nowhere.with_suffix(".csv")),
     "cannot be read", "check the path"),
    ("load_ratings", FileFormatError, lambda at: load_ratings(at.folder / "bad.csv"),
     "bad.csv: line 3 has 5 cells", "Put quotes around"),
    ("load_ratings", MissingExtraError,
     lambda at: (at.without("pyarrow", "pyarrow.parquet", "fastparquet"),
                 load_ratings(at.folder / "noise.parquet")),
     "Parquet needs pyarrow", "pip install pyarrow"),
    ("load_items", DataError, lambda at: load_items(FRAME, item="isbn"),
     "no column 'isbn'", "Name yours with"),
    ("load_items", DataError, lambda at: load_items(pd.concat([FRAME, FRAME])),
     "3 item ids have more than one row: 1, 2, 3", "Keep one row for each"),
    ("load_items", StorageError, lambda at: load_items(at.nowhere.with_suffix(".csv")),
     "cannot be read", "check the path"),
    ("load_items", FileFormatError, lambda at: load_items(at.folder / "bad.csv"),
     "line 3 has 5 cells", "Put quotes around"),
    ("load_items", MissingExtraError,
     lambda at: (at.without("pyarrow", "pyarrow.parquet", "fastparquet"),
                 load_items(at.folder / "noise.parquet")),
     "Parquet needs pyarrow", "pip install pyarrow"),
    ("load_movielens", DataError, lambda at: load_movielens("ml-3m"),
     "'ml-3m' is neither a file nor a folder", "known name: ml-"),
    ("load_movielens", StorageError, lambda at: load_movielens(at.nowhere),
     "no such folder or archive", "Pass the path of one"),
    ("load_movielens", FileFormatError, lambda at: load_movielens(at.folder),
     "not a MovieLens folder. It holds", "expected .*ratings.csv"),
    ("synthetic", DataError, lambda at: synthetic(n_ratings=10**12),
     "n_ratings must be", "from 1 to 100,000,000"),
    ("synthetic", DataError, lambda at: synthetic(n_users=9, n_ratings=3),
     "n_ratings=3 is less than one for each of 9 users", "Ask for"),
    ("load_events", StorageError, lambda at: load_events(at.nowhere.with_suffix(".csv")),
     "cannot be read", "check the path"),
    ("load_events", FileFormatError,
     lambda at: load_events(at.folder / "bad.csv", event="rating", timestamp="rating"),
     "bad.csv: line 3 has 5 cells", "Put quotes around"),
    ("load_events", MissingExtraError,
     lambda at: (at.without("pyarrow", "pyarrow.parquet", "fastparquet"),
                 load_events(at.folder / "noise.parquet")),
     "Parquet needs pyarrow", "pip install pyarrow"),
    ("load_events", DataError, lambda at: load_events(pd.DataFrame({"user": [1]})),
     "no column 'item', 'event'", "Name yours with user, item, rating, timestamp or event"),
    ("load_events", AlignmentError, lambda at: events(items=pd.DataFrame({"item": ["x"]})),
     "none of its 1 ids in 'item'", "expected the same ids in both"),
    ("EventData.pairs", DataError, lambda at: events().pairs("sell"), "found event='sell'",
     "expected one of 'view'"),
    ("news_feed", DataError, lambda at: news_feed(n_days=0), "found n_days=0", "at least 1"),
    ("shop_events", DataError, lambda at: shop_events(per_kind=0), "found per_kind=0",
     "at least 1"),
    ("ColdItemKFold.split", DataError,
     lambda at: ColdItemKFold(2, random_state=-1).split(DATA.dataset),
     "found random_state=-1", "expected None, an int from 0"),
    ("shuffled", DataError, lambda at: shuffled(VECTORS, "seed"),
     "found random_state='seed'", "expected None, an int from 0"),
    ("random_like", DataError, lambda at: random_like(VECTORS, 1.5),
     "found random_state=1.5", "expected None, an int from 0"),
    ("ColdItemKFold.split", DataError, lambda at: ColdItemKFold(1).split(DATA.dataset),
     "found n_splits=1", "expected an integer of at least 2"),
    ("ColdItemKFold.split", DataError, lambda at: ColdItemKFold(999).split(DATA.dataset),
     "found 89 items", "expected at least n_splits: ask for fewer folds"),
    ("replay", DataError, lambda at: replay(LLMTokensEASE(l2=1.0), DATA.dataset, start=2),
     "found start=2", "a number between 0 and 1"),
    ("replay", NotFittedError, lambda at: replay(Idle(), DATA.dataset), "not fitted",
     "call fit first"),
    ("ColdItemKFold.split", DataError,
     lambda at: TimeSplit().split(Dataset.load_from_df(frame_of(), Reader())),
     "no timestamp for", "load the data with llmtokens.datasets"),
    # comparing
    ("compare", DataError, lambda at: compare({"svd": SVD}, SMALL),
     "algorithm 'svd' is <class", r"expected an AlgoBase: add \( \)"),
    ("compare", DataError, lambda at: compare({"svd": SVD()}, SMALL, measures=["rsme"]),
     "found the measure 'rsme'", "expected one of rmse"),
    ("compare", DataError, lambda at: compare({"svd": SVD()}, SMALL.ratings),
     "found data of type DataFrame", "expected a surprise Dataset: .*load_from_df"),
    ("compare", StorageError,
     lambda at: compare({"svd": SVD()}, SMALL, folder=at.folder / "noise" / "x", progress=False),
     "could not make the folder", "choose another"),
    ("Comparison.differences", DataError, lambda at: at.compared.differences("svd"),
     "found 'svd'", "expected one of 'mean'"),
    ("Comparison.to_markdown", DataError,
     lambda at: Comparison(at.compared.table, "svd").to_markdown(), "found 'svd'", "expected one"),
    ("Comparison.to_csv", StorageError, lambda at: at.compared.to_csv(at.nowhere), *NO_PLACE[1:]),
    ("curves.learning_curve", DataError, lambda at: learning_curve({"svd": SVD()}, SMALL, by="x"),
     "found by='x'", "expected 'item' or 'user'"),
    ("curves.learning_curve", DataError, lambda at: learning_curve({}, SMALL, n_given=[3]),
     r"found n_given=\[3\]", "expected two or more numbers of ratings"),
    ("curves.learning_curve", StorageError,
     lambda at: learning_curve({"svd": SVD()}, SMALL, n_given=[0, 1], n_splits=2, progress=False,
                               folder=at.folder / "noise" / "x"),
     "could not make the folder", "choose another"),
    ("curves.LearningCurve.points", DataError, lambda at: at.curve.points(2),
     "found confidence=2", "expected a number between 0 and 1"),
    ("curves.LearningCurve.table", DataError, lambda at: at.curve.table("mae"),
     "found 'mae'", "expected one of 'rmse'"),
    ("curves.LearningCurve.checked", DataError, lambda at: at.curve.checked("mae"),
     "found 'mae'", "expected one of 'rmse'"),
    # metrics
    *[(f"metrics.{name}", NO_PREDICTIONS[0],
       lambda at, name=name, more=more: getattr(metrics, name)([], *more), *NO_PREDICTIONS[1:])
      for name, more in {
          "rmse": (), "mae": (), "precision_at_k": (), "recall_at_k": (), "f1_at_k": (),
          "hit_rate_at_k": (), "map_at_k": (), "mrr": (), "ndcg_at_k": (), "auc": (),
          "catalogue_coverage": (), "exposure_gini": (), "rank_rated": (),
          "interval_coverage": (), "reliability": (), "novelty": (full([(1, 1, 3.0)]),),
          "average_popularity": (full([(1, 1, 3.0)]),), "popularity_lift": (full([(1, 1, 3.0)]),),
          "intra_list_diversity": (VECTORS,), "group_gap": ({}, metrics.rmse),
      }.items()],
    ("metrics.rmse", DataError, lambda at: metrics.rmse([Prediction("u", "a", None, 3.0, {})]),
     "1 predictions without a true rating", "predict a testset"),
    ("metrics.precision_at_k", DataError, lambda at: metrics.precision_at_k(SEEN, k=3),
     "found k=3 and a catalogue of 2 items", "expected k at most that"),
    ("metrics.precision_at_k", DataError,
     lambda at: metrics.precision_at_k(SEEN, k=1, relevant=9),
     "found true ratings", "set relevant to what counts as liked"),
    ("metrics.precision_at_k", DataError,
     lambda at: metrics.precision_at_k(SEEN, k=1, relevant=None),
     "found relevant=None", "expected the least rating"),
    ("metrics.precision_at_k", DataError, lambda at: metrics.precision_at_k(SEEN, k=None),
     "found k=None", "expected the length of the lists"),
    ("metrics.intra_list_diversity", AlignmentError,
     lambda at: metrics.intra_list_diversity(SEEN, TOKENS, k=1),
     f"the lists have 'a', 'b' and the tokens have {TOKENS.ids[0]}",
     "build the tokens from the same item ids"),
    ("metrics.group_gap", DataError,
     lambda at: metrics.group_gap(SEEN, {"v": "x"}, metrics.rmse),
     "1 of 1 users without a group: 'u'", "give them one"),
    ("metrics.group_gap", DataError,
     lambda at: metrics.group_gap(SEEN, {"u": "x"}, metrics.interval_coverage),
     "cannot be taken user by user .*per_user", "such as rmse"),
    ("metrics.group_gap", DataError,
     lambda at: metrics.group_gap(SEEN, {"u": "x"}, lambda predictions, per_user: 1.0),
     "cannot be taken user by user .*it gave a float", "such as rmse"),
    ("metrics.group_gap", DataError,
     lambda at: metrics.group_gap(SEEN, pd.DataFrame({"sex": ["f"]}, index=["u"]), metrics.rmse),
     "found groups of type DataFrame", "of a frame take a column"),
    ("metrics.precision_at_k", DataError,
     lambda at: metrics.precision_at_k(rank_all(at.mean, at.trainset.build_testset()), k=1),
     "found no true ratings in the lists", "expected those of a testset that was held out"),
    ("metrics.ndcg_at_k", DataError,
     lambda at: metrics.ndcg_at_k([Prediction("u", "a", 0.0, 3.0, {})], k=1, relevant=None),
     "found ratings from 0 to 0", "set relevant"),
    ("metrics.exposure_gini", DataError,
     lambda at: metrics.exposure_gini(rank_all(at.raw_ids, [("b", 2, 3.0)], items=[2]), k=1),
     "found lists without an item", "leaves out what a user rated in training"),
    ("metrics.classification", DataError, lambda at: metrics.classification(SEEN, 6),
     "found true ratings from 2 to 4", "set relevant to what counts as liked"),
    ("metrics.classification", DataError, lambda at: metrics.classification(SEEN, 4, "auc"),
     "found which='auc'", "expected one of accuracy, precision, recall, f1, roc_auc"),
    ("metrics.interval_coverage", DataError, lambda at: metrics.interval_coverage(SEEN, 0.95),
     "found levels=0.95", "expected a list of numbers between 0 and 1"),
    ("metrics.reliability", DataError,
     lambda at: metrics.reliability([row._replace(details={"std": 1.0}) for row in SEEN], 1.5),
     "found n_bins=1.5", "expected 1 to 2"),
    ("metrics.interval_coverage", DataError, lambda at: metrics.interval_coverage(SEEN),
     r'2 of 2 predictions without details\["std"\]', "such as LLMTokensBPMF"),
    ("metrics.rank_all", DataError, lambda at: rank_all(at.algo, []),
     "found an empty testset", r"expected \(user, item, rating\)"),
    ("metrics.rank_all", DataError, lambda at: rank_all(at.algo, [(1, 2)]),
     r"found a testset of \(1, 2\)", r"expected \(user, item, rating\)"),
    ("metrics.rank_all", DataError, lambda at: rank_all(at.algo, [(1, 2, 3.0)], n="5"),
     "found n='5'", "expected to keep at least one"),
    ("metrics.Rankings.check", DataError, lambda at: LISTS.check(3),
     "found k=3", "expected k at most that"),
    ("metrics.Rankings.top", DataError, lambda at: LISTS.top(0), "found k=0", "expected"),
    ("metrics.Rankings.result", DataError, lambda at: LISTS.result(np.array([np.nan]), False),
     "no user has a value", "see which users it leaves out"),
    # from disk, or on a cluster
    ("fit_bpmf", DataError, lambda at: fit_bpmf(frame_of(), checkpoint_every=0),
     "found checkpoint_every=0", "expected a positive int"),
    ("fit_bpmf", AlignmentError, lambda at: fit_bpmf(frame_of(), tokens_with(["x", "y"])),
     "0 of 2 item ids", "build the tokens"),
    ("fit_bpmf", FileFormatError, lambda at: fit_bpmf(at.folder / "noise.parquet"),
     "noise.parquet' is not a whole Parquet file", "restore it from a copy"),
    ("fit_bpmf", StorageError, lambda at: fit_bpmf(at.nowhere),
     "found no Parquet files at", "expected a folder"),
    ("fit_bpmf", DataError, lambda at: fit_bpmf(frame_of(), client="tcp://scheduler:8786"),
     "found client='tcp://scheduler:8786'", r"expected a distributed\.Client, which"),
    ("fit_bpmf", LLMTokensError,
     lambda at: on_cluster(lambda *of: fit_bpmf(of[0], client=of[2]), frame_of(), at, 0),
     "there are no workers", "start some, and call again with the same folder"),
    ("fit_bpmf", MissingExtraError,
     lambda at: (at.without("pyarrow"), fit_bpmf(at.folder / "noise.parquet")),
     "Parquet needs pyarrow, which is not installed", r"pip install 'llmtokens\[distributed\]'"),
    ("recommend_all", DataError, lambda at: recommend_all(at.noise, at.folder, "tcp://scheduler:8786"),
     "found client='tcp://scheduler:8786'", r"expected a distributed\.Client, which"),
    ("recommend_all", FileFormatError,
     lambda at: on_cluster(recommend_all, at.noise, at), "noise.parquet", "."),
    ("recommend_all", StorageError,
     lambda at: on_cluster(recommend_all, at.nowhere, at),
     "no", "check the path"),
    ("recommend_all", LLMTokensError,
     lambda at: on_cluster(recommend_all, at.noise, at, 0),
     "there are no workers", "start some, and call again"),
    ("recommend_all", MissingExtraError,
     lambda at: (at.without("distributed"), recommend_all(at.noise, at.folder, None)),
     "a cluster needs distributed", r"pip install 'llmtokens\[distributed\]'"),
    ("encode", DataError, lambda at: encode(at.noise, at.folder, "tcp://scheduler:8786"),
     "found client='tcp://scheduler:8786'", r"expected a distributed\.Client, which"),
    ("encode", FileFormatError,
     lambda at: on_cluster(encode, at.noise, at), "noise.parquet", "."),
    ("encode", StorageError,
     lambda at: on_cluster(encode, at.nowhere, at),
     "found no Parquet files at", "expected a folder"),
    ("encode", LLMTokensError,
     lambda at: on_cluster(encode, at.noise, at, 0),
     "there are no workers", "start some, and call again"),
    ("encode", MissingExtraError,
     lambda at: (at.without("distributed"), encode(at.noise, at.folder, None)),
     "a cluster needs distributed", r"pip install 'llmtokens\[distributed\]'"),
    ("on_workers", DataError, lambda at: on_workers(VECTORS, "tcp://scheduler:8786"),
     "found client='tcp://scheduler:8786'", r"expected a distributed\.Client, which"),
    ("on_workers", DataError, lambda at: on_workers([VECTORS], None),
     "found tokens of type list", "build them with"),
    ("on_workers", MissingExtraError,
     lambda at: (at.without("distributed"), on_workers(VECTORS, None)),
     "a cluster needs distributed", r"pip install 'llmtokens\[distributed\]'"),
    ("on_workers", LLMTokensError, lambda at: placed_elsewhere().n_dims,
     "on the workers of a Dask cluster", "send it the tokens that on_workers was given"),
    # plots and reports
    ("plots.token_map", DataError,
     lambda at: plots.token_map(LLMTokens.from_embeddings("ab", [[0.0], [1.0]])),
     "found tokens of 1 dimension", "needs two"),
    ("plots.token_map", DataError, lambda at: plots.token_map(TOKENS, by="colour"),
     "found by='colour'", "expected one of the columns that the tokens were made from"),
    ("plots.token_map", DataError, lambda at: plots.token_map(TOKENS, users=USER_TOKENS),
     "found users in the space None of 6 dims", "LLMTokens.from_history"),
    ("plots.token_map", *no_plots(lambda at: plots.token_map(VECTORS))),
    ("plots.learning_curve", DataError, lambda at: plots.learning_curve(at.curve, "mae"),
     "found 'mae'", "expected one of 'rmse'"),
    ("plots.learning_curve", *no_plots(lambda at: plots.learning_curve(at.curve))),
    ("plots.residuals", DataError, lambda at: plots.residuals(at.compared),
     "found no predictions", "keep_predictions=True"),
    ("plots.residuals", DataError, lambda at: plots.residuals(at.kept, split="cold"),
     "found split='cold'", "expected one of 'warm'"),
    ("plots.residual_panels", DataError, lambda at: plots.residual_panels(at.compared),
     "found no predictions", "keep_predictions=True"),
    ("plots.residual_panels", *no_plots(lambda at: plots.residual_panels(at.kept))),
    ("plots.roc_curve", DataError, lambda at: plots.roc_curve(at.compared),
     "found no predictions", "keep_predictions=True"),
    ("plots.roc_curve", *no_plots(lambda at: plots.roc_curve(at.kept))),
    ("plots.reliability", DataError, lambda at: plots.reliability(at.kept),
     "found no predictive standard deviations", "LLMTokensBPMF gives them"),
    ("plots.paired_differences", DataError, lambda at: plots.paired_differences(at.compared),
     "found one algorithm only", "expected another to compare"),
    *[(f"plots.{name}", *no_plots(lambda at, name=name: getattr(plots, name)(at.plotted)))
      for name in ("residuals", "reliability", "paired_differences")],
    ("report", DataError, lambda at: report(at.compared, at.folder / "page.pdf"),
     "found the path .*page.pdf", r"ends in \.html"),
    ("report", StorageError, lambda at: report(at.compared, at.nowhere.with_suffix(".html")),
     "could not write", "Check that the folder exists"),
    ("report", MissingExtraError,
     lambda at: (at.without("jinja2"), report(at.compared, at.folder / "page.html")),
     "needs jinja2, which is not installed", r"pip install 'llmtokens\[plots\]'"),
]  # fmt: skip


def _id(case):
    return f"{case[0]}: {case[1].__name__}"


@pytest.mark.filterwarnings("ignore::llmtokens.errors.LLMTokensWarning")
@pytest.mark.parametrize(
    ("name", "error", "provoke", "found", "remedy"), CASES, ids=[_id(case) for case in CASES]
)
def test_the_message_says_what_was_found_and_what_to_do(name, error, provoke, found, remedy, at):
    with pytest.raises(error) as caught:
        provoke(at)
    assert type(caught.value) is error
    assert caught.match(f"(?s){found}")
    assert caught.match(f"(?s){remedy}")


def test_every_documented_error_is_provoked_above():
    known = {(name, error) for name, value in PUBLIC.items() for error in documented(value)}
    provoked = {(name, error.__name__) for name, error, *_ in CASES}
    assert known - provoked == set()
    assert provoked - known == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_error_that_a_public_function_raises_is_in_its_docstring(name):
    said = tuple(ERRORS[error] for error in documented(PUBLIC[name]))
    assert [error for error in raised(PUBLIC[name]) if not issubclass(ERRORS[error], said)] == []


def test_ids_of_another_type_show_both_samples_and_the_remedy():
    tokens = LLMTokens.from_embeddings([("book", 1), ("book", 2)], np.eye(2))
    with pytest.raises(AlignmentError) as caught:
        LLMTokensSVD(item_tokens=tokens).fit(full([(1, 1, 3.0), (1, 2, 4.0)]))
    for part in ("0 of 2 item ids", "1, 2", "('book', 1), ('book', 2)", "build the tokens"):
        assert part in str(caught.value)
