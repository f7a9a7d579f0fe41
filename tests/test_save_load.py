import copy
import json
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, full, make
from corruption import corrupted
from surprise import Dataset, Reader

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
from llmtokens.errors import (
    DataError,
    FileFormatError,
    LLMTokensError,
    LLMTokensWarning,
    NotFittedError,
)
from llmtokens.storage import container as store
from llmtokens.storage.models import Array, Scalar, check

ROWS = list(DATA.ratings[["user", "item", "rating"]].itertuples(index=False, name=None))
TRAIN = full([row for k, row in enumerate(ROWS) if k % 5])
PAIRS = [*(row[:2] for row in ROWS[::25]), ("nobody", 1), (1, "nothing"), ("nobody", "nothing")]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            algo = make(name).fit(TRAIN)
            path = tmp_path_factory.mktemp("models") / "model.safetensors"
            algo.save(path)
            made[name] = algo, path
        algo, path = made[name]
        return copy.copy(algo), path

    return get


def same(one, two):
    """Whether two models say the same, to the last bit."""
    for pair in PAIRS:
        assert one.predict(*pair) == two.predict(*pair)
    pd.testing.assert_frame_equal(one.recommend_all(n=3), two.recommend_all(n=3), check_exact=True)
    a, b = (x.explain(*PAIRS[0]) for x in (one, two))
    assert (a.terms, a.sentence) == (b.terms, b.sentence)
    pd.testing.assert_frame_equal(a.rated, b.rated, check_exact=True)
    if one.item_tokens is not None:
        frames = [x.ask("a storm at sea", uid=PAIRS[0][0]) for x in (one, two)]
        pd.testing.assert_frame_equal(*frames, check_exact=True)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_loaded_model_answers_to_the_last_bit_as_the_saved_one(name, saved):
    algo, path = saved(name)
    loaded = llmtokens.load(path)
    assert type(loaded) is type(algo)
    same(algo, loaded)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_loaded_model_learns_newcomers_as_the_saved_one(name, saved):
    algo, path = saved(name)
    loaded = llmtokens.load(path)
    for model in (algo, loaded):
        model.fold_in("newcomer", {ROWS[0][1]: 5.0, ROWS[1][1]: 2.0, ROWS[2][1]: 3.5},
                      timestamps=[1, 2, 3], half_life=1)  # fmt: skip
        model.fold_in_item("novelty", None if model.item_tokens is None else "a storm at sea",
                           [(ROWS[0][0], 4.0), ("newcomer", 1.0)])  # fmt: skip
    same(algo, loaded)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_was_folded_in_is_saved_too(name, saved, tmp_path):
    algo, _ = saved(name)
    algo.fold_in("newcomer", [(ROWS[0][1], 5.0), (ROWS[1][1], 2.0)], timestamps=[1, 2], half_life=1)
    content = None if algo.item_tokens is None else "a storm at sea"
    algo.fold_in_item("novelty", content, [("newcomer", 4.0)])
    if content:
        algo.fold_in_item("unseen", content)
    algo.fold_in("last", [(ROWS[0][1], 4.0), ("novelty", 1.0)])
    algo.save(tmp_path / "m")
    loaded = llmtokens.load(tmp_path / "m")
    assert loaded.users_.ids == algo.users_.ids
    assert loaded.items_.ids == algo.items_.ids
    np.testing.assert_array_equal(loaded.items_.tokens, algo.items_.tokens)
    same(algo, loaded)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_parameters_come_back_and_the_model_can_be_fitted_again(name, saved):
    algo, path = saved(name)
    loaded = type(algo).load(path)
    for parameter, value in ALGORITHMS[name][1].items():
        if not isinstance(value, LLMTokens):
            assert getattr(loaded, parameter) == value
    refit = loaded.fit(TRAIN)
    assert refit.predict(*PAIRS[0]).est == pytest.approx(
        make(name).fit(TRAIN).predict(*PAIRS[0]).est
    )


def test_ids_keep_their_types(tmp_path):
    rows = [("1", 1, 3.0), (1, "1", 4.0), (2.5, 1, 2.0), ("é", "1", 5.0)]
    algo = LLMTokensSVD(n_factors=2, n_epochs=2, random_state=0).fit(full(rows))
    algo.save(tmp_path / "m")
    loaded = llmtokens.load(tmp_path / "m")
    assert loaded.ratings_.user_ids == ["1", 1, 2.5, "é"]
    assert [type(raw) for raw in loaded.ratings_.item_ids] == [int, str]


def test_the_file_names_the_encoder_and_asks_for_it_where_it_is_not_our_own(tmp_path):
    class Foreign(HashingEncoder):
        name = "foreign/model"
        revision = "7"

    tokens = LLMTokens.from_texts(TOKENS.ids, TOKENS.labels, encoder=Foreign())
    LLMTokensSVD(tokens, n_factors=2, n_epochs=1).fit(TRAIN).save(tmp_path / "m")
    loaded = llmtokens.load(tmp_path / "m")
    assert (loaded.item_tokens.encoder, loaded.item_tokens.revision) == ("foreign/model", "7")
    with pytest.raises(LLMTokensError, match="foreign/model"):
        loaded.ask("a storm")
    assert len(llmtokens.load(tmp_path / "m", encoder=Foreign()).ask("a storm")) == 10


def test_what_cannot_be_saved_or_loaded_is_refused(tmp_path, saved):
    with pytest.raises(NotFittedError):
        LLMTokensSVD().save(tmp_path / "m")
    with pytest.raises(DataError, match="ids that a file cannot hold"):
        LLMTokensSVD(n_factors=2, n_epochs=1).fit(full([((1, 2), 1, 3.0)])).save(tmp_path / "m")
    for missing in (None, np.nan, pd.NA):
        rows = pd.DataFrame(
            {"u": [1, 2], "i": pd.Series([missing, 1], dtype=object), "r": [3.0, 4]}
        )
        trainset = Dataset.load_from_df(rows, Reader()).build_full_trainset()
        with pytest.warns(LLMTokensWarning, match="no item id"):
            algo = LLMTokensSVD(n_factors=2, n_epochs=1).fit(trainset)
        with pytest.raises(DataError, match="ids that a file cannot hold.*none missing"):
            algo.save(tmp_path / "m")
    TOKENS.save(tmp_path / "tokens")
    with pytest.raises(FileFormatError, match="holds 'tokens'"):
        llmtokens.load(tmp_path / "tokens")
    with pytest.raises(FileFormatError, match="expected LLMTokensEASE"):
        llmtokens.LLMTokensEASE.load(saved("LLMTokensSVD")[1])
    store.write(tmp_path / "evil", "os.system", {}, {})
    with pytest.raises(FileFormatError, match="os.system"):
        llmtokens.load(tmp_path / "evil")


def test_a_random_state_object_is_saved_as_none(tmp_path):
    algo = LLMTokensSVD(n_factors=2, n_epochs=1, random_state=np.random.RandomState(0)).fit(TRAIN)
    algo.save(tmp_path / "m")
    assert llmtokens.load(tmp_path / "m").random_state is None


# -- the format


def golden_model():
    rng = np.random.default_rng(0)
    rows = [
        (u, i, float(rng.integers(1, 6))) for u in range(6) for i in "abcde" if rng.random() < 0.7
    ]
    tokens = LLMTokens.from_frame(
        pd.DataFrame({
            "item": list("abcdef"), "year": [1950.0, 1960, 1971, 1985, 1999, 2010],
            "title": ["red fox", "blue whale", "red deer", "grey wolf", "grey whale", "red wolf"],
            "genres": ["x|y", "x", "y", "y|z", "z", "x"],
        }),
        "{title}", categorical=["genres"], numeric=["year"],
        encoder=HashingEncoder(n_features=32), n_components=4,
    )  # fmt: skip
    return LLMTokensSVD(tokens, n_factors=3, n_epochs=3, random_state=0).fit(full(rows))


def test_files_of_version_3_are_read_for_ever():
    known = json.loads((GOLDEN / "svd-3.json").read_text(encoding="utf-8"))
    loaded = llmtokens.load(GOLDEN / "svd-3.safetensors")
    for uid, iid, est in known["predictions"]:
        assert loaded.predict(uid, iid).est == pytest.approx(est, abs=1e-6)
    assert loaded.ask("red whale", n=2)["item"].tolist() == known["ask"]
    assert loaded.recommend(0, n=3, exclude_seen=False)["item"].tolist() == known["recommend"]
    assert (GOLDEN / "svd-3.safetensors").stat().st_size < 50_000


def test_what_is_written_today_has_the_parts_of_version_3(tmp_path):
    golden_model().save(tmp_path / "m")
    kinds, payloads, arrays = zip(
        *(store.read(path) for path in (tmp_path / "m", GOLDEN / "svd-3.safetensors")),
        strict=True,
    )
    assert kinds[0] == kinds[1]
    assert payloads[0].keys() == payloads[1].keys()
    assert {k: (v.dtype, v.shape) for k, v in arrays[0].items()} == {
        k: (v.dtype, v.shape) for k, v in arrays[1].items()
    }


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_file_of_another_version_is_refused_with_what_to_do(tmp_path, monkeypatch, version):
    with monkeypatch.context() as other:
        other.setattr(store, "VERSION", version)
        golden_model().save(tmp_path / "m")
    with pytest.raises(FileFormatError, match=f"version '{version}'; this .* reads 3: build"):
        llmtokens.load(tmp_path / "m")


# -- hostile files


def test_a_thousand_corruptions_are_all_noticed(saved, tmp_path):
    path = GOLDEN / "svd-3.safetensors"
    bad = tmp_path / "bad"
    tracemalloc.start()
    for data in corrupted(path.read_bytes(), 1000):
        bad.write_bytes(data)
        with pytest.raises(LLMTokensError):
            llmtokens.load(bad)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


VALUES = [
    None,
    True,
    0,
    -1,
    7,
    1 << 70,
    0.5,
    1e308,
    "",
    "x",
    "a",
    [],
    [1],
    ["a", "a"],
    [[0]],
    {},
    {"a": 1},
]


def damaged_array(rng, array):
    match rng.randrange(8):
        case 0:
            return array.astype(rng.choice(["<f4", "<f8", "<i4", "<i8", "|u1", "|b1"]))
        case 1:
            return array[: rng.randrange(len(array))]
        case 2:
            return np.concatenate([array, array])
        case 3:
            return array.reshape(-1) if array.ndim > 1 else array[:, None]
        case 4:
            return np.zeros((0, *array.shape[1:]), array.dtype)
        case 5:
            return array.T if array.ndim > 1 else array[::-1]
        case _:
            out = array.copy().reshape(-1)
            wild = (
                [np.nan, np.inf, 1e300] if out.dtype.kind == "f" else [-1, 5, 1 << 30, -(1 << 31)]
            )
            out[rng.randrange(len(out))] = rng.choice(wild)
            return out.reshape(array.shape)


def damaged_json(rng, node):
    """The node with one value somewhere inside it replaced, dropped or doubled."""
    if isinstance(node, (dict, list)) and node and rng.random() < 0.85:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        out = copy.copy(node)
        if rng.random() < 0.15:
            del out[key]
        elif rng.random() < 0.1 and isinstance(out, list):
            out.append(out[key])
        else:
            out[key] = damaged_json(rng, node[key])
        return out
    return rng.choice(VALUES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["golden", "LLMTokensSVD, users", "LLMTokensEASE", "LLMTokensContent", "LLMTokensBPMF"]
)
def test_a_lie_with_a_right_checksum_is_refused_or_harmless(name, saved, tmp_path):
    path = GOLDEN / "svd-3.safetensors" if name == "golden" else saved(name)[1]
    kind, payload, arrays = store.read(path)
    arrays = {key: np.array(array) for key, array in arrays.items()}
    rng, bad, refused = random.Random(1), tmp_path / "bad", 0
    for case in range(600 if name == "golden" else 150):
        lie, parts = payload, dict(arrays)
        if case % 2:
            lie = damaged_json(rng, payload)
        else:
            key = rng.choice([name for name, array in arrays.items() if array.size])
            with np.errstate(all="ignore"):
                parts[key] = damaged_array(rng, arrays[key])
            if rng.random() < 0.1:
                del parts[key]
        try:
            store.write(bad, kind, lie, parts)
        except LLMTokensError:
            continue
        try:
            model = llmtokens.load(bad)
        except FileFormatError:
            refused += 1
            continue
        use(model)
    assert refused > 50


def use(model):
    """Everything a reader of a file would do: it may be refused, and nothing else."""
    uid = model.ratings_.user_ids[0]
    assert np.isfinite(model.predict(uid, model.items_.ids[0]).est)
    try:
        model.recommend_all(n=2)
        model.explain(uid, model.items_.ids[0])
        model.ask("a storm at sea")
        model.fold_in("n", {model.ratings_.item_ids[0]: 3.0})
    except LLMTokensError:
        pass


def test_deeply_nested_json_is_refused(tmp_path, monkeypatch):
    dumps = json.dumps
    monkeypatch.setattr(
        store.json, "dumps", lambda value, **k: dumps(value, **k) if value else "[" * 100_000
    )
    monkeypatch.setattr(store, "_digest", lambda *a: "0")
    store.write(tmp_path / "m", "LLMTokensSVD", {}, {})
    with pytest.raises(FileFormatError, match="does not hold JSON"):
        llmtokens.load(tmp_path / "m")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_that_are_none_or_too_large_are_refused_in_every_precision(dtype):
    layout = {"a": Array((3,))}
    check(layout, {"a": np.array([0, np.finfo(np.float16).max, -1], dtype)}, {})
    for wrong in (np.nan, np.inf, -np.inf, *([1e70, -1e70] if dtype == np.float64 else [])):
        with pytest.raises(FileFormatError, match="NaN, infinity or a number beyond 1e"):
            check(layout, {"a": np.array([0, wrong, 1], dtype)}, {})


def test_a_layout_refuses_what_it_does_not_describe():
    layout = {
        "a": Array(("users", "k")),
        "b": Array(("k + 1",), "int", below="users"),
        "c": Scalar(float),
        "d": Array((2,), "bool", optional=True),
    }
    good = {"a": np.zeros((3, 2)), "b": np.array([0, 2, 1]), "c": 1.0}
    check(layout, good, {"users": 3})
    for change, message in [
        ({"a": np.zeros((2, 2))}, "shape"),
        ({"a": np.full((3, 2), np.nan)}, "NaN"),
        ({"a": np.zeros((3, 2), int)}, "array of float"),
        ({"b": np.array([0, 3, 1])}, "outside its 3 users"),
        ({"b": np.array([0, -1, 1])}, "outside its 3 users"),
        ({"b": np.array([0, 1])}, "shape"),
        ({"c": "1"}, "expected float"),
        ({"c": float("inf")}, "finite"),
        ({"c": None}, "missing; if another version .* fit and save the model anew"),
        ({"d": np.zeros(2)}, "array of bool"),
        ({"e": 1}, "unexpected .*; if another version"),
    ]:
        with pytest.raises(FileFormatError, match=message):
            check(layout, good | change, {"users": 3})
