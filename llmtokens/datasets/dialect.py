"""How a text table is written, told from its bytes: encoding, separator, quotes, header.

Nothing is guessed that the bytes do not show. The rules, in this order:

encoding
    The mark at the beginning; else UTF-8 if all of the file is; else, with a warning, Windows-1252.
separator
    What Excel's first line ``sep=`` says; else the one that makes a line of the first thirty hold
    all columns asked for by name; else the one that gives most of the first lines equally many
    cells, at least two.
header
    That line with the names. Where there is none, the first line is the header unless a number
    stands in it where the lines below have numbers, too.
quotes
    They open a cell if all that do are closed at its end, and the rows come out equally long. Where
    that is so with the quotes taken as text, too, or in neither case, it is an error that names the
    line. Among tabs, pipes and double colons, quotes around cells that need none are text.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import DataError, FileFormatError, LLMTokensWarning, sample
from .encoding import as_utf8, check_text, line_ends
from .quotes import is_number, quoting
from .scan import Places, Quoting, Scan

Header = bool | Sequence[str] | None

_HEAD = 1 << 17  # bytes in which the separator shows
_PREAMBLE = 30  # lines in which the names are looked for
_WIDEST = 10_000  # columns; pandas takes the square of their number in time
_LONGEST = 1 << 24  # bytes of the first line
_QUOTED = re.compile(r'(?:^|(?<=[,;\t|]))"[^"]*(?:"|$)')  # what stands in quotes is no separator
_SEPARATORS = ("\t", "::", ";", ",", "|", " ")  # of two that fit alike, the first
_ONE_BYTE = "\x1f"  # in place of a separator that has two
_TWO_LINES = re.compile(rb"\s*[^\n]+\n\s*\S")
_BLOCK = re.compile(r"\d+:\s*$")


@dataclass(frozen=True)
class Form:
    """What somebody says of a file: the separator, the encoding, whether there is a header line."""

    sep: str | None = None
    encoding: str | None = None
    header: Header = None


@dataclass(frozen=True)
class Dialect:
    """A table's bytes as UTF-8, and how to read them.

    Attributes
    ----------
    data : bytes
    sep, written_sep : str
        The one byte between cells in ``data``, and what stands there in the file.
    quoting : Quoting
    padded : bool
        Whether a space follows every separator.
    start : int
        Offset of the first row, behind the header.
    names : list of str
        Of the columns; where there is no header line, those asked for, in their usual order.
    scan : Scan
    slots : dict
        Where the scan has the columns looked at, and the last one.
    """

    data: bytes
    sep: str
    written_sep: str
    quoting: Quoting
    padded: bool
    start: int
    names: list[str]
    scan: Scan
    slots: dict[str, int]

    def cells(self, name: str) -> tuple[Places, Places]:
        """Where the cells of a column begin and end."""
        slot = self.slots[name]
        return self.scan.starts[slot], self.scan.ends[slot]

    def line(self, row: int) -> int:
        """The line of the file in which a row begins, from 1."""
        return self.data.count(b"\n", 0, int(self.scan.offsets[row])) + 1


def find(
    raw: bytes,
    source: str,
    wanted: Sequence[str],
    usual: Sequence[str],
    looked_at: Sequence[str] | None,
    form: Form,
) -> Dialect:
    """Tell how a table is written, and check that all of it is.

    Parameters
    ----------
    raw : bytes
    source : str
        Its name, for messages.
    wanted : sequence of str
        The columns that must be there.
    usual : sequence of str
        What the first columns are, where there is no header.
    looked_at : sequence of str, optional
        The columns whose cells are looked at, those of them that there are; without it, all.
    form : Form
        What is said instead of told.

    Raises
    ------
    DataError
        For no rows, or wanted columns that are not there.
    FileFormatError
        For what is no text table, or not written in one way throughout.
    """
    check_text(raw, source)
    sep, header = form.sep, form.header
    data = as_utf8(raw, form.encoding, source)
    if b"\0" in data:
        at = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise FileFormatError(
            f"{source}: line {at} holds a NUL byte, as no text does: is it damaged, a program's "
            "own format, or in another encoding (such as encoding='utf-16')?"
        )
    data, lone_returns = line_ends(data)
    if not data or data.isspace():
        raise DataError(f"{source}: the file is empty.")
    start = 0
    said = re.match(rb'"?sep=([^\r\n"]+)"?[ ,;\t]*\r?\n', data[:64], re.I)
    if said:
        start, sep = said.end(), sep or said.group(1).decode("ascii", "replace")
    head = _head(data, start, source)
    if _BLOCK.match(head[0]):
        raise FileFormatError(
            f"{source}: line 1 is {head[0].strip()!r}, an item's id on a line of its own above its "
            "ratings, as in the Netflix Prize; write the id into each row: item,user,rating,date"
        )
    if sep is not None and (not sep or any(x in sep for x in '\r\n"')):
        raise DataError(f"{source}: found sep={sep!r}; expected what stands between two cells")
    at, sep = _names_or_separator(head, wanted, sep, header)
    if lone_returns and "\r" in _QUOTED.sub("", head[at]).rstrip("\r\n"):
        raise FileFormatError(
            f"{source}: line {at + 1} ends in a line feed and holds a carriage return, too "
            f"({head[at]!r:.60}), so that where lines end does not show; write all ends in one way"
        )
    names, below = _header(head, at, sep, header, wanted, usual, source)
    if any(line.strip() for line in head[:at]):
        skipped = sample((line.strip() for line in head[:at]), 3)
        warnings.warn(
            f"{source}: the table begins in line {at + 1}; what stands above is left out: "
            f"{skipped}",
            LLMTokensWarning,
            stacklevel=2,
        )
    for line in head[: at + below]:
        start += len(line.encode("utf-8", "surrogatepass"))
    written = sep
    if len(sep.encode()) > 1:
        if _ONE_BYTE.encode() in data:
            raise FileFormatError(f"{source}: holds the control character 1F beside {sep!r}")
        if sep.encode() + sep[-1:].encode() in data[start:]:
            warnings.warn(
                f"{source}: {sep + sep[-1:]!r} is taken for a separator and a cell that begins "
                f"with {sep[-1:]!r}; where one ends with it, the cells are wrong",
                LLMTokensWarning,
                stacklevel=2,
            )
        shorter = data[:start].count(sep.encode()) * (len(sep.encode()) - 1)
        data, start, sep = (
            data.replace(sep.encode(), _ONE_BYTE.encode()),
            start - shorter,
            _ONE_BYTE,
        )
    lines = [line.replace(written, sep) for line in head]
    padded = _is_padded(lines[at:], sep)
    asked = names if looked_at is None else [*looked_at, names[-1]]
    places = {name: names.index(name) for name in asked if name in names}
    titles = '"' in lines[at] if below else None
    marks, found = quoting(data, sep, start, len(names), [*places.values()], padded, titles, source)
    slots = {name: k for k, name in enumerate(places)}
    return Dialect(data, sep, written, marks, padded, start, names, found, slots)


def _head(data: bytes, start: int, source: str) -> list[str]:
    """The first whole lines, with their ends; comments before them count as lines."""
    size = _HEAD
    while True:
        whole = start + size >= len(data)
        end = len(data) if whole else data.rfind(b"\n", start, start + size) + 1
        if whole or _TWO_LINES.match(data, start, max(end, start)):
            break
        size *= 2
        if size > _LONGEST:
            raise FileFormatError(
                f"{source}: a row of more than {_WIDEST:,} fields or {_LONGEST:,} bytes; if you "
                "trust the file, read it with pandas and pass the DataFrame"
            )
    lines = re.findall("[^\n]*\n|[^\n]+$", data[start:end].decode("utf-8", "surrogatepass"))
    bare = [_QUOTED.sub("", line) for line in lines[:_PREAMBLE]]
    if any(line.count(by) >= _WIDEST for line in bare for by in _SEPARATORS[:-1]):
        raise FileFormatError(
            f"{source}: a row of more than {_WIDEST:,} fields; if you trust the file, read it with "
            "pandas and pass the DataFrame"
        )
    return lines


def split(line: str, sep: str) -> list[str]:
    """The cells of one line; a separator may have several characters."""
    line = line.rstrip("\r\n")
    if len(sep) > 1:
        line, sep = line.replace(sep, _ONE_BYTE), _ONE_BYTE
    if '"' in line:
        try:
            return next(
                csv.reader([line.replace("\r", " ")], delimiter=sep, skipinitialspace=True), [""]
            )
        except csv.Error:
            pass
    return line.split(sep)


def _clean(cells: Sequence[str]) -> list[str]:
    return [cell.strip(" \ufeff\t").removeprefix("#").strip() for cell in cells[:1]] + [
        cell.strip() for cell in cells[1:]
    ]


def _names_or_separator(
    head: list[str], wanted: Sequence[str], sep: str | None, header: Header
) -> tuple[int, str]:
    """The line of the names, or else the first that is no comment, and the separator."""
    tried = _SEPARATORS if sep is None else (sep,)
    if header is None or header is True:
        for at, line in enumerate(head[:_PREAMBLE]):
            for one in tried:
                cells = _clean(split(line, one))
                if set(wanted) <= set(cells) and all(
                    _width(split(above, one)) < len(cells) for above in head[:at]
                ):
                    return at, one
    rows = [k for k, x in enumerate(head) if x.strip() and not x.startswith(("#", "%"))] or [0]
    one = sep if sep is not None else _separator(head[rows[0] :])
    first = next(k for k, x in enumerate(head) if x.strip())
    if len(split(head[first], one)) == len(split(head[rows[0]], one)):
        return first, one
    return rows[0], one


def _separator(lines: list[str]) -> str:
    """The separator that gives the largest share of lines one number of cells, at least two."""
    lines = [line for line in lines[:200] if line.strip()]
    shares = {}
    for sep in _SEPARATORS:
        counts = Counter(_width(split(line, sep)) for line in lines)
        counts.pop(1, None)
        shares[sep] = max(counts.values(), default=0) / len(lines)
    best = max(shares, key=lambda sep: shares[sep])
    if best == " ":  # spaces that always follow something else are beside the separator
        for sep in _SEPARATORS:
            if sep != " " and all(x.count(" ") == x.count(sep + " ") for x in lines):
                return sep
    return best if shares[best] > 0.5 else ","


def _width(cells: list[str]) -> int:
    """How many cells there are, empty ones at the end not counted: they may be surplus."""
    n = len(cells)
    while n > 1 and not cells[n - 1].strip():
        n -= 1
    return n if n > 1 else len(cells)


def _header(
    head: list[str],
    at: int,
    sep: str,
    header: Header,
    wanted: Sequence[str],
    usual: Sequence[str],
    source: str,
) -> tuple[list[str], int]:
    """The names of the columns, and whether a line holds them."""
    rows = [split(line, sep) for line in head[at : at + 50] if line.strip()]
    names = _clean(rows[0])
    if header is not None and not isinstance(header, bool):
        names = [str(name) for name in header]
        if isinstance(header, str) or len(set(names)) < len(names) or not names:
            raise DataError(f"found header={header!r}; expected True, False, or distinct names")
        width = Counter(_width(row) for row in rows).most_common(1)[0][0]
        if len(names) != width and len(names) != Counter(map(len, rows)).most_common(1)[0][0]:
            raise DataError(
                f"{source}: found {len(names)} names in header and {width} cells in most rows, "
                f"such as {sample(rows[0], 8)}; expected one name for each"
            )
        return _require(names, wanted, source), 0
    present = set(wanted) <= set(names)
    data = header is None and _is_data(rows)
    if present and data and len(wanted) == 1:
        warnings.warn(
            f"{source}: line {at + 1} is read as the names of the columns, as {wanted[0]!r} is "
            f"among them, though others look like cells ({sample(rows[0], 8)}); if it is a row, "
            "name the columns with header=[...]",
            LLMTokensWarning,
            stacklevel=3,
        )
    if header is True or present or (header is None and not data):
        return _named(_require(names, wanted, source)), 1
    width = Counter(_width(row) for row in rows).most_common(1)[0][0]
    if not set(wanted) <= set(usual[:width]) or width > len(usual) > 1:
        raise DataError(
            f"{source}: there is no header line, the first being {sample(rows[0], 8)}, so no "
            f"column {sample(x for x in wanted)}: give the {width} names there are with "
            "header=[...]"
        )
    names = [*usual[:width], *(f"column {k + 1}" for k in range(len(usual), width))]
    if header is None:
        example = ", ".join(f"{n} {x.strip()!r:.30}" for n, x in zip(names, rows[0], strict=False))
        warnings.warn(
            f"{source}: there is no header line; the first row is read as {example}. If the "
            "columns are others, name them with header=[...]; if they are right, pass header=False",
            LLMTokensWarning,
            stacklevel=2,
        )
    return names, 0


def _is_data(rows: list[list[str]]) -> bool:
    """Whether the first row has a number where most of the others have one."""
    first, rest = rows[0], rows[1:]
    for k, cell in enumerate(first):
        below = [row[k].strip() for row in rest if len(row) > k and row[k].strip()]
        numbers = sum(map(is_number, below))
        if is_number(cell) and numbers >= 0.8 * len(below):
            return True
    return False


def _require(names: list[str], wanted: Sequence[str], source: str) -> list[str]:
    for name in wanted:
        if names.count(name) > 1:
            raise DataError(f"{source}: the column {name!r} is there {names.count(name)} times.")
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(missing_columns(missing, names, source))
    return names


def missing_columns(missing: Sequence[object], names: Sequence[object], source: str) -> str:
    """What to say of columns that are not there."""
    alike = {
        name: own
        for name in missing
        for own in names
        if str(own).lower().strip(" _") == str(name).lower().strip(" _") and own != name
    }
    hint = f" Is {sample(alike)} {sample(alike.values())} here?" if alike else ""
    return (
        f"{source}: no column {sample(missing)}; there are {sample(names, 12)}.{hint} "
        "Name yours with user, item, rating, timestamp or event (a table of items alone: "
        "load_items(path, item=...)); if that is no header, with header=[...]."
    )


def _named(names: list[str]) -> list[str]:
    """Names as pandas makes them where one is empty or stands twice."""
    seen: dict[str, int] = {}
    made = []
    for k, name in enumerate(names):
        n = seen.get(name, 0)
        seen[name] = n + 1
        made.append(f"Unnamed: {k}" if not name else f"{name}.{n}" if n else name)
    return made if len(set(made)) == len(made) else [f"{x} ({k})" for k, x in enumerate(made)]


def _is_padded(lines: list[str], sep: str) -> bool:
    """Whether a space follows every separator of the first lines."""
    bare = [re.sub(r'"[^"]*"', '""', line) for line in lines[:50] if line.strip()]
    after = [x[:1] for line in bare for x in line.rstrip("\r\n").split(sep)[1:]]
    return sep != " " and bool(after) and all(x == " " for x in after)
