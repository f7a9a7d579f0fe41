"""A model over HTTP: its answers, what it is told, and what is thrown at it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("httpx2", reason="needs httpx2")
from algorithms import DATA, make
from fastapi.testclient import TestClient

import llmtokens
from llmtokens import HashingEncoder, LLMTokensEASE
from llmtokens.errors import DataError, FileFormatError, LLMTokensWarning, StorageError
from llmtokens.serve import create_app, together
from llmtokens.serve.run import require_safe

TRAIN = DATA.dataset.build_full_trainset()
USER = int(DATA.ratings["user"].iloc[0])
ITEMS = [int(item) for item in DATA.items["item"]]
TOKEN = "a-token-that-nobody-guesses"
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "model.safetensors"
    make("LLMTokensEASE").fit(TRAIN).save(path)
    return path.read_bytes()


@pytest.fixture
def path(saved, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(saved)
    return tmp_path / "model.safetensors"


@pytest.fixture
def client(path):
    with served(path) as client:
        yield client


def served(path, **options):
    """A client of a server that starts when the client is entered, and ends with it."""
    return TestClient(create_app(path, **options), base_url="http://localhost")


def log_of(path):
    return path.with_name(path.name + ".feedback.jsonl")


def rate(client, user, item, rating):
    return client.post("/feedback", json={"user": user, "item": item, "rating": rating})


def list_of(client, user):
    return client.get("/recommend", params={"user": user}).json()


def test_lists_answers_and_reasons_are_those_of_the_algorithm(client, path):
    algo = llmtokens.load(path)
    assert list_of(client, USER) == algo.recommend(USER).to_dict("records")
    asked = client.get("/ask", params={"text": "a storm at sea", "user": USER, "n": 4}).json()
    assert asked == algo.ask("a storm at sea", 4, USER).to_dict("records")
    alike = client.get("/similar", params={"item": ITEMS[0], "by": "ratings"}).json()
    assert alike == algo.similar_items(ITEMS[0], by="ratings").to_dict("records")
    why = client.get("/explain", params={"user": USER, "item": ITEMS[0]}).json()
    known = algo.explain(USER, ITEMS[0])
    assert why["sentence"] == known.sentence
    assert why["terms"] == known.terms
    assert [line["item"] for line in why["nearest"]] == known.nearest["item"].tolist()


def test_lists_and_answers_are_of_what_a_condition_holds_for(client, path):
    algo, old = llmtokens.load(path), "year < 1990"
    listed = client.get("/recommend", params={"user": USER, "where": old}).json()
    assert listed == algo.recommend(USER, where=old).to_dict("records")
    asked = client.get("/ask", params={"text": "a storm", "where": old, "diversity": 0.5}).json()
    assert asked == algo.ask("a storm", where=old, diversity=0.5).to_dict("records")
    served = client.get("/model").json()
    assert "year" in served["columns"]
    example = client.get("/recommend", params={"user": USER, "where": served["condition"]}).json()
    assert example == algo.recommend(USER, where=served["condition"]).to_dict("records")
    assert re.fullmatch(r"year < \d{4} and '.*' in genres", served["condition"])
    refused = client.get("/recommend", params={"user": USER, "where": "import os"})
    assert refused.status_code == 422
    assert "cannot be read" in refused.json()["error"]


def test_portraits_and_what_tokens_say_are_those_of_the_algorithm(client, path):
    algo = llmtokens.load(path)
    portrait = client.get("/portrait", params={"user": USER, "n": 3}).json()
    known = algo.portrait(USER, 3)
    assert [line["name"] for line in portrait] == known["name"].tolist()
    assert [line["liking"] for line in portrait] == known["liking"].tolist()
    assert client.get("/portrait", params={"user": "nobody"}).status_code == 422
    ends = client.get("/describe", params={"k": 2, "n": 3}).json()
    known = algo.item_tokens.describe(2, 3)
    assert [end["words"] for end in ends] == known["words"].tolist()
    assert [end["shares"]["year"] for end in ends] == known["year share"].tolist()
    assert [end["means"]["year"] for end in ends] == known["year mean"].tolist()


def at_once(path, calls):
    """Answers to (route, parameters), all asked at the same time."""
    import httpx2

    async def answers():
        transport = httpx2.ASGITransport(app=create_app(path))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = [client.get(route, params=parameters) for route, parameters in calls]
            return [answer.json() for answer in await asyncio.gather(*asked)]

    return asyncio.run(answers())


def test_calls_that_wait_are_answered_together_each_with_its_own(path, monkeypatch):
    users = [USER, "nobody", str(USER + 1), USER, *map(int, DATA.ratings["user"].unique()[:20])]
    algo = llmtokens.load(path)
    asked = []
    recommend = type(algo).recommend
    monkeypatch.setattr(
        LLMTokensEASE, "recommend",
        lambda algo, uids, n, **how: asked.append(uids) or recommend(algo, uids, n, **how),
    )  # fmt: skip
    calls = [("/recommend", {"user": user, "n": 3}) for user in users]
    *found, refused = at_once(path, [*calls, ("/recommend", {"user": USER, "n": 10**6})])
    assert found == [
        recommend(algo, algo.users_.as_known(user), 3).to_dict("records") for user in users
    ]
    assert "error" in refused
    assert len(asked) < len(users)


def test_who_comes_a_little_later_than_another_is_answered_with_them(monkeypatch):
    monkeypatch.setattr(together, "_PAUSE", 0)  # a turn of the loop, however long that takes
    calls = []
    answers = together.Together(lambda how, own: calls.append(own) or [2 * k for k in own])

    async def come(turn):
        for _ in range(turn):
            await asyncio.sleep(0)
        return await answers.answer("alike", turn)

    async def some():
        return await asyncio.gather(*map(come, range(4)))

    assert asyncio.run(some()) == [0, 2, 4, 6]
    assert calls == [[0, 1, 2, 3]]


def asked_for(texts):
    """Calls for these texts, by somebody known, somebody unknown and nobody; and their users."""
    asked = [(text, user) for text in texts for user in (USER, "nobody", None)]
    return asked, [
        ("/ask", {"text": text, "n": 4} | ({} if user is None else {"user": user}))
        for text, user in asked
    ]


def test_questions_that_wait_are_encoded_together_each_answered_as_if_alone(path, monkeypatch):
    algo, encode, encoded = llmtokens.load(path), HashingEncoder.encode, []
    texts = ["a storm at sea", "a storm at sea and the winter garden", "a detective", "a garden"]
    asked, calls = asked_for(texts)
    known = [algo.ask(text, 4, user).to_dict("records") for text, user in asked]
    monkeypatch.setattr(
        HashingEncoder, "encode", lambda self, some: encoded.append(some) or encode(self, some)
    )
    assert at_once(path, calls) == known
    assert max(map(len, encoded)) > len(texts)


def test_what_is_wrong_with_one_of_those_that_wait_is_its_own(path):
    algo = llmtokens.load(path)
    asked, calls = asked_for(["a storm at sea", " ", "a detective"])
    for (text, user), answer in zip(asked, at_once(path, calls), strict=True):
        if text.strip():
            assert answer == algo.ask(text, 4, user).to_dict("records")
        else:
            assert "expected a text" in answer["error"]


def test_the_model_says_what_it_is(client):
    model = client.get("/model").json()
    assert (model["algorithm"], model["scale"]) == ("LLMTokensEASE", [0.5, 5.0])
    assert model["ratings"] == sorted(DATA.ratings["rating"].unique())
    assert model["asks"]
    assert not model["implicit"]


def test_ids_may_be_numbers_or_text(client):
    assert rate(client, str(USER), str(ITEMS[0]), 4).json()["user"] == USER
    assert rate(client, USER, ITEMS[1], 4).json()["item"] == ITEMS[1]
    assert rate(client, "90001", ITEMS[1], 4).json()["user"] == 90001  # as the others are
    assert rate(client, "someone", ITEMS[1], 4).json()["user"] == "someone"


def test_a_rating_changes_the_list_and_is_known_from_then_on(client):
    before = list_of(client, "newcomer")
    assert {line["basis"] for line in before} == {"popular"}
    assert rate(client, "newcomer", before[0]["item"], 5).status_code == 200
    after = list_of(client, "newcomer")
    assert {line["basis"] for line in after} == {"ratings"}
    assert before[0]["item"] not in [line["item"] for line in after]
    known = client.get("/ratings", params={"user": "newcomer"}).json()
    assert [(line["item"], line["rating"]) for line in known] == [(before[0]["item"], 5.0)]


def test_a_click_counts_as_the_median_rating_and_leaves_a_rating_as_it_is(client):
    median = DATA.ratings["rating"].quantile(0.5, interpolation="higher")
    click = client.post("/feedback", json={"user": "clicker", "item": ITEMS[0]}).json()
    assert (click["rating"], click["click"]) == (median, True)
    rate(client, "clicker", ITEMS[1], 0.5)
    again = client.post("/feedback", json={"user": "clicker", "item": ITEMS[1]}).json()
    assert again["rating"] == 0.5


def test_a_model_of_clicks_takes_clicks(tmp_path):
    algo = LLMTokensEASE(implicit=True).fit(TRAIN)
    algo.save(tmp_path / "clicks")
    with served(tmp_path / "clicks") as client:
        assert client.get("/model").json()["implicit"]
        assert client.post("/feedback", json={"user": "n", "item": ITEMS[0]}).status_code == 200
        assert {line["basis"] for line in list_of(client, "n")} == {"ratings"}


@pytest.mark.parametrize("name", ["LLMTokensEASE", "LLMTokensSVD", "LLMTokensBPMF"])
def test_feedback_is_there_after_a_restart_to_the_last_bit(name, tmp_path):
    make(name).fit(TRAIN).save(tmp_path / "m")
    with served(tmp_path / "m") as client:
        for k, item in enumerate(ITEMS[:6]):
            assert rate(client, f"n{k % 2}", item, 1 + k % 4).status_code == 200
        rate(client, "n0", ITEMS[0], 5)
        lists = [list_of(client, user) for user in ("n0", "n1", USER)]
    with served(tmp_path / "m") as client:
        assert [list_of(client, user) for user in ("n0", "n1", USER)] == lists


def test_what_cannot_be_learned_is_not_written(client, path):
    for user, item, rating in (("n", "no such item", 3), ("n", ITEMS[0], 99), ("", ITEMS[0], 3)):
        refused = rate(client, user, item, rating)
        assert refused.status_code == 422
        assert refused.json()["error"]
    assert log_of(path).read_bytes() == b""


def test_a_disk_that_is_full_costs_no_more_than_the_one_rating(client, path, monkeypatch):
    rate(client, "n", ITEMS[0], 5)
    written, known = log_of(path).read_bytes(), list_of(client, "n")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("llmtokens.serve.log.os.fsync", full)
        refused = rate(client, "n", ITEMS[1], 5)
    assert refused.status_code == 503
    assert "No space left" in refused.json()["error"]
    assert log_of(path).read_bytes() == written
    assert list_of(client, "n") == known
    assert rate(client, "n", ITEMS[1], 5).status_code == 200


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_is_cut_off_and_said(path, kept):
    with served(path) as client:
        rate(client, "n", ITEMS[0], 5)
        known = list_of(client, "n")
        whole = log_of(path).read_bytes()
        rate(client, "n", ITEMS[1], 5)
        torn = log_of(path).read_bytes()[len(whole) :][:kept]
    log_of(path).write_bytes(whole + torn)
    with pytest.warns(LLMTokensWarning, match="ended in a part of a line"):
        client = served(path)
    with client:
        assert list_of(client, "n") == known
        assert log_of(path).read_bytes() == whole
        rate(client, "n", ITEMS[1], 5)
    assert log_of(path).read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("line", [b"noise", b"{}", b'{"user": [1]}', b"[" * 9999, b"\xff\x00"])
def test_a_damaged_line_within_is_named(path, line):
    log_of(path).write_bytes(line + b"\n")
    with pytest.raises(FileFormatError, match=r"line 1: found .*; expected feedback"):
        create_app(path)


def test_feedback_on_what_a_new_model_does_not_know_stays_in_the_log(path):
    record = {"user": "n", "item": "gone", "rating": 3.0, "click": False, "time": 1.0}
    log_of(path).write_text(json.dumps(record) + "\n")
    with pytest.warns(LLMTokensWarning, match="1 of 1 lines .* the item 'gone'"):
        client = served(path)
    with client:
        assert log_of(path).read_text() == json.dumps(record) + "\n"


def test_two_servers_do_not_share_a_log(client, path):
    pytest.importorskip("fcntl")
    with pytest.raises(StorageError, match="in use by another server; expected one"):
        create_app(path)


def test_who_is_forgotten_is_in_no_file(path):
    with served(path) as client:
        rate(client, "somebody-unmistakable", ITEMS[0], 5)
        rate(client, "another-one", ITEMS[1], 5)
        assert client.post("/forget", json={"user": "somebody-unmistakable"}).json() == {
            "ratings": 1
        }
        client.post("/forget", json={"user": USER})
        others = list_of(client, "another-one")
    for file in (path, log_of(path)):
        assert b"somebody-unmistakable" not in file.read_bytes()
        assert b"another-one" in file.read_bytes()
    algo = llmtokens.load(path)
    assert USER not in algo.users_.ids
    assert algo.ratings_.n == len(DATA.ratings) - sum(DATA.ratings["user"] == USER) + 1
    with served(path) as client:
        assert list_of(client, "another-one") == others
        assert list_of(client, USER)[0]["basis"] == "popular"
        refused = client.post("/forget", json={"user": USER})
        assert refused.status_code == 422
        assert "who is unknown" in refused.json()["error"]


def test_others_than_this_machine_need_a_token():
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
        with pytest.raises(DataError, match=f"found host='{host}'.*no token; expected one"):
            require_safe(host, None)
        require_safe(host, TOKEN)
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        require_safe(host, None)
    for token in ("short", "a token with spaces in it", "ein-schlüssel-der-keiner-ist"):
        with pytest.raises(DataError, match="expected at least 16"):
            require_safe("0.0.0.0", token)


def test_without_a_token_a_name_from_elsewhere_is_not_let_in(client):
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", ""):
        assert client.get("/model", headers={"host": host}).status_code == 421
    for host in ("localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"):
        assert client.get("/model", headers={"host": host}).status_code == 200


def test_with_a_token_nothing_is_told_without_it(path):
    with served(path, token=TOKEN) as client:
        for wrong in ({}, {"authorization": "Bearer no"}, {"authorization": TOKEN}):
            for route in ("/model", "/ratings?user=1", "/recommend?user=1", "/nothing"):
                assert client.get(route, headers=wrong).status_code == 401
            assert client.post("/forget", json={"user": 1}, headers=wrong).status_code == 401
        right = {"authorization": f"Bearer {TOKEN}", "host": "example.org"}
        assert client.get("/model", headers=right).status_code == 200
        assert client.get("/").status_code == 200  # the page holds no data, and asks for the token


def test_another_site_cannot_make_a_browser_give_feedback(client, path):
    body = json.dumps({"user": "n", "item": ITEMS[0], "rating": 5})
    plain = client.post("/feedback", content=body, headers={"content-type": "text/plain"})
    assert plain.status_code == 422  # JSON is asked for first, by OPTIONS, and refused there
    assert client.options("/feedback", headers={"origin": "http://evil.example"}).status_code == 405
    assert log_of(path).read_bytes() == b""


def test_pages_ask_nothing_of_others(client):
    for route in ("/", "/docs"):
        page = client.get(route)
        assert page.status_code == 200
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        parts = [page.text]
        for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            if not name.startswith("data:"):
                assert name.startswith("/")
                part = client.get(name)
                assert part.status_code == 200
                parts.append(part.text)
        assert not any("http://" in part or "https://" in part or "//cdn" in part for part in parts)


def test_every_route_is_documented(client):
    api = client.get("/openapi.json").json()
    routes = {
        "/model",
        "/recommend",
        "/ask",
        "/similar",
        "/explain",
        "/ratings",
        "/feedback",
        "/forget",
    }
    assert routes <= set(api["paths"])
    for methods in api["paths"].values():
        for said in methods.values():
            assert said["description"]
            assert said["responses"]["200"]["content"]["application/json"]["schema"]


STRANGE = [
    "", " ", "\x00", "nan", "-1", "1e999", "9" * 5000, "\ud800".encode("utf-8", "surrogatepass"),
    "%", "../../etc/passwd", "a" * 3000, "１", "<script>", "null", "true", "[]", "{}", "0",
    "🎬", "1;2",
]  # fmt: skip
BODIES = [
    b"", b"null", b"[]", b"{", b"{}", b"\xff\xfe", b'"text"', b"[" * 60000, b"1e999", b"9" * 5000,
    b'{"user": "\\ud800", "item": 1}', b'{"user": 1, "item": 1, "rating": NaN}',
    b'{"user": 1, "item": 1, "rating": 1e400}', b'{"user": true, "item": 1}',
    b'{"user": 1.5, "item": 1}', b'{"user": {}, "item": []}', b'{"user": 1, "user": 2}',
    b'{"user": ' + b"9" * 400 + b', "item": 1}', b'{"user": 1, "item": 1, "rating": "5 stars"}',
    b'{"user": 1, "item": 1, "rating": -1e308}', b'{"user": "\\u0000", "item": "\\u0000"}',
    b'{"user": 1, "item": 1, "rating": ' + b"9" * 5000 + b"}", b"x" * 100000,
]  # fmt: skip


def test_no_request_is_too_strange_for_an_answer_in_words(client):
    """Of every route with every strange value, and combinations of them by chance."""
    chance = random.Random(0)
    names = ["user", "item", "text", "n", "diversity", "popularity_penalty", "other"]
    routes = [
        "/recommend",
        "/ask",
        "/explain",
        "/similar",
        "/ratings",
        "/model",
        "/",
        "/nothing",
        "/feedback",
    ]
    usual = {"user": "1", "item": "1", "text": "x"}
    asked = [(route, {**usual, name: value}) for route in routes[:5] for name in names
             for value in STRANGE]  # fmt: skip
    asked += [
        (chance.choice(routes), {k: chance.choice(STRANGE) for k in chance.sample(names, 3)})
        for _ in range(100)
    ]
    seen = [client.get(route, params=parameters) for route, parameters in asked]
    kinds = ["application/json", "text/plain", "application/json; charset=utf-16", "x/y", ""]
    for route in ("/feedback", "/forget", "/recommend", "/nothing"):
        for body in BODIES:
            for kind in kinds:
                seen.append(client.post(route, content=body, headers={"content-type": kind}))
    seen += [client.request(method, "/feedback") for method in ("PUT", "DELETE", "PATCH", "TRACE")]
    assert len(seen) > 1000
    for answer in seen:
        assert answer.status_code < 500, (answer.request.url, answer.text)
        if answer.status_code >= 400:
            assert json.loads(answer.text)["error"]
    assert {200, 404, 405, 413, 422} <= {answer.status_code for answer in seen}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_killed_server_has_lost_nothing_it_was_thanked_for(path):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    code = "from llmtokens.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(path), "--port", "0"],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as server:  # fmt: skip
        try:
            address = server.stdout.readline().split()[0]
            thanked = []
            for k, item in enumerate(ITEMS[:8]):
                body = json.dumps({"user": f"u{k % 3}", "item": item, "rating": 4}).encode()
                headers = {"content-type": "application/json"}
                request = urllib.request.Request(f"{address}/feedback", body, headers)
                with urllib.request.urlopen(request, timeout=60) as answer:
                    known = json.load(answer)
                thanked.append((known["user"], known["item"]))
        finally:
            server.kill()
    with served(path) as client:
        for user, item in thanked:
            known = client.get("/ratings", params={"user": user}).json()
            assert item in [line["item"] for line in known]
