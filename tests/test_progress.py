"""Progress: a bar for a terminal, lines for a file, nothing for what is soon over."""

from __future__ import annotations

import time

import pytest

from llmtokens.runtime import progress as module


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_what_is_soon_over_says_nothing(capsys, clock):
    with module.progress("counting", total=3) as advance:
        for _ in range(3):
            clock[0] += 0.5
            advance()
    assert capsys.readouterr() == ("", "")


def test_off_a_terminal_there_is_a_line_now_and_then_and_one_at_the_end(capsys, clock):
    with module.progress("counting", total=40) as advance:
        for _ in range(40):
            clock[0] += 1
            advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "counting: 2 of 40, 2 s"
    assert lines[-1] == "counting: 40 of 40, 40 s"
    assert len(lines) == 5


def test_without_a_total_the_time_alone_is_told(capsys, clock):
    with module.progress("fitting"):
        clock[0] += 7
    assert capsys.readouterr().err == "fitting: 7 s\n"


def test_nothing_is_shown_where_nobody_wants_it(capsys, clock):
    with module.progress("counting", shown=False) as advance:
        clock[0] += 99
        advance()
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with module.progress("counting [x]", total=3, unit="sheep", patience=0) as advance:
        advance()
        advance(2)
    shown = capsys.readouterr().err
    assert "counting [x]" in shown
    assert "3/3" in shown
    assert "sheep a second" in shown


def test_a_bar_waits_until_something_takes_long(monkeypatch, capsys):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with module.progress("counting", total=1) as advance:
        advance()
    assert capsys.readouterr() == ("", "")
    with module.progress("fitting", patience=0.01):
        while "fitting" not in capsys.readouterr().err:
            time.sleep(0.01)


def test_lines_tell_how_many_are_done_a_second(capsys, clock):
    with module.progress("counting", total=400, unit="sheep") as advance:
        clock[0] += 4
        advance(400)
    assert capsys.readouterr().err == "counting: 400 of 400, 4 s, 100 sheep a second\n"
