"""Files as accidents leave them."""

from __future__ import annotations

import random
from collections.abc import Iterator


def corrupted(whole: bytes, n: int, seed: int = 0) -> Iterator[bytes]:
    """Up to ``n`` damaged copies: a bit flipped, cut short, bytes swapped, an absurd length of the
    header, an absurd number in it; copies that come out whole are left out."""
    rng = random.Random(seed)
    for case in range(n):
        data = bytearray(whole)
        match case % 5:
            case 0:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:
                del data[rng.randrange(len(data)) :]
            case 2:
                i, j = rng.sample(range(len(data)), 2)
                data[i], data[j] = data[j], data[i]
            case 3:
                data[:8] = rng.randrange(1 << 63).to_bytes(8, "little")
            case 4:
                end = min(8 + int.from_bytes(whole[:8], "little"), len(whole))
                digits = [k for k in range(8, end) if chr(data[k]) in "0123456789"]
                at = rng.choice(digits)
                data[at : at + 1] = str(rng.randrange(10**15)).encode()
        if bytes(data) != whole:
            yield bytes(data)
