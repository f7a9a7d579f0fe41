"""The page of a served model, used as a visitor uses it: in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
from algorithms import DATA, make

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver in PATH"
)
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1200,900",
]  # fmt: skip


class Browser:
    """Chromium by the WebDriver protocol: JSON over HTTP, which chromedriver speaks."""

    def __init__(self, profile, *options):
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                break
        self.at = f"http://127.0.0.1:{found[1]}"
        chrome = {"binary": CHROMIUM, "args": [*OPTIONS, f"--user-data-dir={profile}", *options]}
        wanted = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self.say("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.at += f"/session/{made['sessionId']}"

    def say(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.at + path, data, method=method)
        with urllib.request.urlopen(asked, timeout=300) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self.say("POST", "/url", {"url": url})

    def run(self, script, *given):
        return self.say("POST", "/execute/sync", {"script": script, "args": list(given)})

    def until(self, script):
        """What a script returns once that is something."""
        for _ in range(3000):
            found = self.run(script)
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"the page never had {script}; it says {self.said()!r}")

    def said(self):
        return self.run("return document.getElementById('said').textContent")

    def names(self):
        """Of the items in the list, from above."""
        return self.run(
            "return [...document.querySelectorAll('#list .name')].map(x => x.firstChild.data)"
        )

    def close(self):
        self.say("DELETE", "")
        self.driver.terminate()
        self.driver.wait()
        self.driver.stdout.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "model.safetensors"
    make("LLMTokensEASE").fit(DATA.dataset.build_full_trainset()).save(path)
    command = [sys.executable, "-m", "llmtokens", "serve", str(path), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().split()[0]
    server.terminate()
    server.wait()
    server.stdout.close()


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def test_a_visitor_asks_is_told_why_rates_and_sees_the_list_change(browser, address):
    browser.open(address + "/?user=me")
    browser.until("return document.querySelectorAll('#list li').length == 10")
    assert browser.names()
    assert "popular" in browser.run("return document.querySelector('#list .about').textContent")

    browser.run("document.getElementById('text').value = 'a storm at sea';"
                "document.querySelector('#wish button').click()")  # fmt: skip
    heading = "return document.getElementById('heading').textContent"
    browser.until(heading + " == 'Nearest to \u201ca storm at sea\u201d'")
    asked = browser.names()
    assert asked
    assert all("similarity" in about for about in browser.run(
        "return [...document.querySelectorAll('#list .about')].map(x => x.textContent)"
    ))  # fmt: skip

    button = "[...document.querySelectorAll('#list li:first-child button')].find(x => x.textContent"
    browser.run(f"{button} == 'Why?').click()")
    why = browser.until(
        "const why = document.querySelector('.why p'); return why && why.textContent"
    )
    assert asked[0] in why
    browser.run(f"{button} == 'Rate').click()")
    browser.until("return document.querySelector('.rate button')")
    browser.run("[...document.querySelectorAll('.rate button')].at(-1).click()")
    browser.until("return document.getElementById('said').textContent.includes('kept')")
    assert browser.said().startswith(f"{asked[0]}: rated 5 and kept")
    assert asked[0] not in browser.names()
    mine = browser.run("return document.getElementById('mine').textContent")
    assert asked[0] in mine

    assert browser.run(heading) == "Near \u201ca storm at sea\u201d, best for you first"

    browser.run("document.getElementById('back').click()")
    browser.until(heading + " == 'For you'")
    assert "popular" not in browser.run("return document.getElementById('list').textContent")


def test_a_condition_on_the_page_holds_for_what_it_lists(browser, address):
    browser.open(address + "/?user=me")
    browser.until("return document.querySelectorAll('#list li').length == 10")
    hint = browser.run("return document.getElementById('columns').textContent")
    assert re.fullmatch(r"By label, .*: such as year < \d+ and '.*' in genres", hint)
    browser.run("document.getElementById('where').value = 'year < 1990';"
                "document.querySelector('#wish button').click()")  # fmt: skip
    year = DATA.items.set_index("title")["year"]
    browser.until("return document.getElementById('heading').textContent.includes('year < 1990')")
    assert browser.names()
    assert all(year.loc[[name]].min() < 1990 for name in browser.names())
    browser.run("document.getElementById('where').value = 'yaer < 1990';"
                "document.querySelector('#wish button').click()")  # fmt: skip
    assert "yaer" in browser.until(
        "const said = document.querySelector('#said.bad'); return said && said.textContent"
    )


def test_the_page_has_nothing_to_complain_of_and_asks_nobody_else(browser, address):
    browser.open(address + "/?user=me")
    browser.until("return document.querySelectorAll('#list li').length == 10")
    asked = browser.run("return performance.getEntriesByType('resource').map(x => x.name)")
    assert asked
    assert all(url.startswith(address) for url in asked)
    assert browser.say("POST", "/se/log", {"type": "browser"}) == []
