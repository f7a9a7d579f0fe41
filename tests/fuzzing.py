"""Bytes as an enemy would send them: mutations of honest files, and a guard around each reading."""

from __future__ import annotations

import faulthandler
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import strategies as st

SECONDS = 5.0  # for one case; the files are small
MEGABYTES = (
    48.0  # by which one case may raise the peak of the process; honest ones take less than 1
)

TOKENS = [
    b"NaN", b"inf", b"-1", b"0", b"9" * 20, b"1e308", b"1e400", b"-0.0", b"\0", b"\xff\xfe",
    b"\xed\xa0\x80", b"\xe2\x80\xae", b"\n", b"\r", b",", b'"', b"'", b"|", b"::", b"\t", b";",
    b"[" * 2000, b"{}", b"[]", b"null", b"true", b'{"a":', b"\\ud800", b"../../x", b"\x85", b" ",
    b"18446744073709551616", b"2147483648", b"1" * 5000, b"0x1", b"1_0", "\u0661".encode(),
]  # fmt: skip
_NUMBER = re.compile(rb"\d+")
_places = st.integers(0, 1 << 20)


@st.composite
def mutations(draw, seeds):
    """One of the seeds, changed in one to four ways."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        size = len(data) or 1
        at, n = draw(_places) % size, draw(st.sampled_from([1, 2, 8, 64, 4096]))
        match draw(st.integers(0, 9)):
            case 0 if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del data[at:]
            case 2:
                del data[at : at + n]
            case 3:
                data[at:at] = data[at : at + n]
            case 4:
                data[at : at + draw(st.sampled_from([0, 1, 4]))] = draw(st.sampled_from(TOKENS))
            case 5:
                numbers = list(_NUMBER.finditer(data))
                if numbers:
                    one = numbers[draw(_places) % len(numbers)]
                    data[one.start() : one.end()] = draw(st.sampled_from(TOKENS))
            case 6:
                other = draw(st.sampled_from(seeds))
                start = draw(_places) % (len(other) or 1)
                data[at:] = other[start:]
            case 7:
                data[at : at + n] = bytes([draw(st.integers(0, 255))]) * min(n, size - at)
            case 8:
                data[at : at + 8] = draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little")
            case _:
                data[at:at] = draw(st.binary(max_size=12))
    return bytes(data)


class Hang(BaseException):
    """A case took too long."""


def _peak() -> float:
    import resource

    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@contextmanager
def guarded() -> Iterator[None]:
    """Fails what hangs, in Python or below it, and what fills the memory."""

    def stop(*_: object) -> None:
        raise Hang(f"no answer within {SECONDS:g} seconds")

    before, old = _peak(), signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of this process, however busy the machine is
    faulthandler.dump_traceback_later(60 * SECONDS, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, old)
    assert _peak() - before < MEGABYTES
