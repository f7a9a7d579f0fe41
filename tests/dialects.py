"""Tables as people write them: a true table in a random dialect, and what reading it must give.

The writer here is its own: it shares nothing with the reader but the meaning of a table.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
import numpy as np

WORDS = [
    "Heat", "Dumbo", "Emma", "Amélie", "Das Boot", "7\" disc",
    "\"Heroes\"", "\"Weird Al\" Yankovic",
    "Hello, Dolly!", "Tom; Jerry", "AC|DC", "a::b", "tab\tstop", "two\nlines", "\"", "'", "O'Neill",
    "NA", "None", "Null", "1984", "007", "3,5", "2.5", "-", "Überfahrt", "Ж", "東京", "AT&T",
    "back\\slash", "C:\\dir\\", "sep=;", "#1", "%", "x" * 300, "true", "1e5", "nan", "item", "user",
    "say \"hi\", ok", " lead", "trail ", "Rock & Roll; B-side", "€5", "½", "“quoted”", "/", ",",
    ";",
]  # fmt: skip
MARKS = {"", "na", "n/a", "none", "null", "nan", "-", "--", "?", ".", "\\n"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Written:
    """A file's name and bytes, the true table, and the options that its reader is given."""

    name: str
    data: bytes
    columns: dict[str, list]
    options: dict


def _ids(draw, n, kind):
    ints = draw(st.lists(st.integers(1, 10 ** draw(st.integers(1, 9))), min_size=n, max_size=n))
    match kind:
        case "int" | "float":
            return ints
        case "zeros":
            return [f"{k:05d}" for k in ints]
        case "text":
            return [f"u{k}" for k in ints]
        case "odd":
            return [f"{k:x}-é" for k in ints]


def _times(draw, n):
    seconds = draw(st.lists(st.integers(10**9, 2 * 10**9), min_size=n, max_size=n))
    unit = draw(st.sampled_from(["s", "ms", "us", "ns", "iso", "zone", "day", "yyyymmdd", "year"]))
    if unit in ("day", "yyyymmdd"):
        seconds = [k // 86_400 * 86_400 for k in seconds]
    moments = [EPOCH + timedelta(seconds=k) for k in seconds]
    if unit == "year":
        seconds = [
            int((datetime(m.year, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) for m in moments
        ]
    zone = timezone(timedelta(hours=2))
    write = {
        "s": lambda k, m: str(k),
        "ms": lambda k, m: str(k * 1000),
        "us": lambda k, m: str(k * 10**6),
        "ns": lambda k, m: str(k * 10**9),
        "iso": lambda k, m: m.strftime("%Y-%m-%d %H:%M:%S"),
        "zone": lambda k, m: m.astimezone(zone).isoformat(),
        "day": lambda k, m: m.strftime("%Y-%m-%d"),
        "yyyymmdd": lambda k, m: m.strftime("%Y%m%d"),
        "year": lambda k, m: str(m.year),
    }[unit]
    return [float(k) for k in seconds], [write(k, m) for k, m in zip(seconds, moments, strict=True)]


@st.composite
def tables(draw, items=False):
    """A table of ratings (or of items) in a random dialect."""
    n = draw(st.integers(1, 12))
    texts = st.sampled_from(WORDS) | st.text(
        st.characters(exclude_characters="\ufeff", exclude_categories=["Cs", "Cc", "Zl", "Zp"]),
        min_size=1,
        max_size=12,
    ).filter(lambda text: text.strip() != "\\N")  # which no text is
    missing = draw(st.sampled_from(["", "\\N", "NA", "NULL", "NaN"]))
    item_kind = draw(st.sampled_from(["int", "float", "zeros", "text", "odd"]))
    item_ids = _ids(draw, n, item_kind)
    as_cell = {"float": "{}.0"}.get(item_kind, "{}").format
    true, cells = {}, {}
    if items:
        item_ids = list(dict.fromkeys(item_ids))
        n = len(item_ids)
        true["item"], cells["item"] = item_ids, [as_cell(k) for k in item_ids]
        for name in draw(
            st.lists(
                st.sampled_from(["title", "genres", "plot"]), min_size=1, max_size=3, unique=True
            )
        ):
            true[name] = _told_from_numbers(draw(st.lists(texts, min_size=n, max_size=n)))
            cells[name] = list(true[name])
        numbers = draw(st.lists(st.none() | st.integers(-999, 9999), min_size=n, max_size=n))
        true["year"] = [np.nan if x is None else float(x) for x in numbers]
        cells["year"] = [missing if x is None else str(x) for x in numbers]
    else:
        kind = draw(st.sampled_from(["int", "zeros", "text", "odd"]))
        true["user"] = _ids(draw, n, kind)
        cells["user"] = [str(k) for k in true["user"]]
        true["item"], cells["item"] = item_ids, [as_cell(k) for k in item_ids]
        halves = draw(st.lists(st.integers(1, 10), min_size=n, max_size=n))
        true["rating"] = [k / 2 for k in halves]
        decimal = draw(st.sampled_from([".", ".", ","]))
        cells["rating"] = [f"{k / 2:g}".replace(".", decimal) for k in halves]
        if draw(st.booleans()):
            true["timestamp"], cells["timestamp"] = _times(draw, n)
    order = draw(st.permutations(list(true))) if draw(st.booleans()) else list(true)
    names = list(order)
    if not items and draw(st.booleans()):
        extra = draw(st.sampled_from(["comment", "label"]))
        cells[extra] = draw(st.lists(texts, min_size=n, max_size=n))
        names.insert(draw(st.integers(0, len(names))), extra)
    rows = [names, *zip(*(cells[name] for name in names), strict=True)]
    return _written(draw, rows, true, missing)


def _told_from_numbers(texts):
    """Texts with a word among them: numbers and marks for missing ones are a column of numbers."""
    marks = [x.strip().lower() in MARKS for x in texts]
    numbers = [x.strip().replace(".", "", 1).replace(",", "", 1).isdecimal() for x in texts]
    if any(marks) and all(m or k for m, k in zip(marks, numbers, strict=True)):
        return [f"{x} words" for x in texts]
    return texts


def _written(draw, rows, true, missing):
    form = draw(st.sampled_from(["text"] * 9 + ["json"]))
    options = {}
    if form == "json":
        plain = draw(st.booleans())
        names, *rest = rows
        lines = []
        for k, row in enumerate(rest):
            record = dict(zip(names, row, strict=True))
            for name, values in true.items():
                if name != "timestamp":
                    record[name] = None if values[k] != values[k] else values[k]
            lines.append(json.dumps(record, ensure_ascii=plain))
        text = "\n".join(lines) + "\n"
        return _packed(draw, text.encode(), true, options, "table.json")
    sep = draw(st.sampled_from([",", ";", "\t", "|", "::", ", ", ","]))
    quoting = draw(st.sampled_from(["none", "minimal", "minimal", "all", "texts", "escaped"]))
    if quoting == "none" and _reads_as_quoted(rows):
        quoting = "all"
    lines = [sep.join(_cell(x, sep, quoting) for x in row) for row in rows]
    if draw(st.integers(0, 7)) == 0:  # a separator at the end of rows, or of some
        some = draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
        lines = [line + sep * more for line, more in zip(lines, some, strict=True)]
    if draw(st.integers(0, 7)) == 0:
        lines.insert(draw(st.integers(1, len(lines))), "")
    if draw(st.integers(0, 9)) == 0:
        lines.append(sep * (len(rows[0]) - 1))
    header = draw(st.sampled_from(["yes"] * 5 + ["no"]))
    if header == "no" and "item" not in map(str.strip, rows[1]):  # which names a column
        lines = lines[1:]
        if draw(st.booleans()):
            options["header"] = list(rows[0])
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    text = end.join(lines) + end * draw(st.integers(0, 2))
    if draw(st.integers(0, 9)) == 0 and len(sep) == 1:
        text = f"sep={sep}{end}{text}"
    encoding = draw(
        st.sampled_from(
            ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1", "utf-32"]
        )
    )
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        data = text.encode("utf-8")
    if encoding == "utf-16-le" and draw(st.booleans()):
        options["encoding"] = encoding
    return _packed(
        draw, data, true, options, draw(st.sampled_from(["t.csv", "t.tsv", "t.txt", "u.data", "t"]))
    )


def _reads_as_quoted(rows):
    """Whether quotes stand around whole cells only: nobody could tell them from a format's own."""
    quoted = [str(x) for row in rows for x in row if '"' in str(x)]
    return bool(quoted) and all(re.fullmatch('"(?:[^"]|"")*"', x) for x in quoted)


def _cell(value, sep, quoting):
    text = str(value)
    if quoting == "none":
        return text
    needs = (
        sep.strip(" ") in text
        or any(x in text for x in '"\n\r')
        or (" " in sep and text[:1] == " ")
    )
    if quoting == "escaped":
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if quoting == "all" or needs or (quoting == "texts" and not text.replace(".", "").isdecimal()):
        return '"' + text.replace('"', '""') + '"'
    return text


def _packed(draw, data, true, options, name):
    how = draw(st.sampled_from(["plain"] * 8 + ["gz", "bz2", "xz"]))
    if how != "plain":
        data = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[how](data)
        name = f"{name}.{how}"
    return Written(name, data, true, options)


def same(true: dict[str, list], read) -> bool:
    """Whether a frame says what the table says; the types of ids may be those of text."""
    for name, values in true.items():
        got = read[name].tolist()
        if len(got) != len(values):
            return False
        for a, b in zip(values, got, strict=True):
            if isinstance(a, float) and np.isnan(a):
                if b is not None and not (isinstance(b, float) and np.isnan(b)):
                    return False
            elif isinstance(a, float):
                if not isinstance(b, (int, float)) or a != b:
                    return False
            elif isinstance(b, (int, float)) and not isinstance(a, (int, float)):
                if a.strip() != f"{b:g}" and a.strip() != str(b):
                    return False
            elif str(a) != str(b):
                return False
    return True
