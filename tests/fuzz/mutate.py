"""Bytes → other bytes, by a seeded generator: a number gives one input. Knows no format but its dictionary."""

from __future__ import annotations

import random
from collections.abc import Sequence

MOST_BYTES = 1 << 16
MOST_CHANGES = 6


def mutate(seeds: Sequence[bytes], words: Sequence[bytes], number: int) -> bytes:
    """Return input `number`: a seed with up to MOST_CHANGES pieces flipped, cut, doubled, moved or put in."""
    chance = random.Random(number)
    content = bytearray(chance.choice(seeds))
    for _ in range(min(1 + int(chance.expovariate(1.2)), MOST_CHANGES)):
        at, length = chance.randrange(len(content) + 1), min(int(chance.expovariate(1 / 12)) + 1, 4096)
        piece = bytes(content[at : at + length])
        kind = chance.randrange(7)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = piece * chance.choice((1, 2, 50))
        elif kind == 3:
            content[at:at] = chance.choice(words)
        elif kind == 4:
            content[at : at + length] = chance.randbytes(length)
        elif kind == 5:
            del content[at:]
        else:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            content[at : at + length] = other[start : start + 4 * length]
    return bytes(content[:MOST_BYTES])
