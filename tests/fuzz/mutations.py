# SPDX-License-Identifier: Apache-2.0
"""Ways to spoil bytes: small ones, which reach deep into a parser, and large ones, which try its bounds."""

from random import Random

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 64) - 1)
MAX_COPY = 4096


def mutate(random: Random, seed: bytes, other: bytes) -> bytes:
    """Spoil a good input in one to four places; `other` is another input to borrow from."""
    spoiled = bytearray(seed)
    for _ in range(random.randint(1, 4)):
        random.choice(WAYS)(random, spoiled, other)
    return bytes(spoiled)


def _flip(random: Random, spoiled: bytearray, _other: bytes) -> None:
    if spoiled:
        spoiled[random.randrange(len(spoiled))] ^= 1 << random.randrange(8)


def _overwrite(random: Random, spoiled: bytearray, _other: bytes) -> None:
    if spoiled:
        spoiled[random.randrange(len(spoiled))] = random.randrange(256)


def _edge(random: Random, spoiled: bytearray, _other: bytes) -> None:
    size = random.choice((1, 2, 4, 8))
    if len(spoiled) >= size:
        position = random.randrange(len(spoiled) - size + 1)
        value = random.choice(EDGES) & ((1 << 8 * size) - 1)
        spoiled[position : position + size] = value.to_bytes(size, random.choice(("little", "big")))


def _cut(random: Random, spoiled: bytearray, _other: bytes) -> None:
    del spoiled[random.randrange(len(spoiled) + 1) :]


def _remove(random: Random, spoiled: bytearray, _other: bytes) -> None:
    start = random.randrange(len(spoiled) + 1)
    del spoiled[start : start + random.randint(1, 64)]


def _insert(random: Random, spoiled: bytearray, _other: bytes) -> None:
    position = random.randrange(len(spoiled) + 1)
    spoiled[position:position] = random.randbytes(random.randint(1, 16))


def _repeat(random: Random, spoiled: bytearray, _other: bytes) -> None:
    start = random.randrange(len(spoiled) + 1)
    part = spoiled[start : start + random.randint(1, MAX_COPY)]
    spoiled[start:start] = part


def _borrow(random: Random, spoiled: bytearray, other: bytes) -> None:
    start = random.randrange(len(other) + 1)
    part = other[start : start + random.randint(1, MAX_COPY)]
    position = random.randrange(len(spoiled) + 1)
    spoiled[position : position + len(part)] = part


WAYS = (_flip, _flip, _overwrite, _edge, _cut, _remove, _insert, _repeat, _borrow)
