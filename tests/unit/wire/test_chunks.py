# SPDX-License-Identifier: Apache-2.0
"""The limits of bodies, on small ones."""

import pytest

from wire.aead import Aead, CountingCipher
from wire.chunks import Format, Limits, Reader, RequestError, Writer

SMALL = Limits(chunks=2, size_bytes=100)


def cipher() -> CountingCipher:
    return CountingCipher(Aead.AES_128_GCM, bytes(16), bytes(12))


def test_writer_stops_at_the_number_of_chunks() -> None:
    writer = Writer(Format.CHUNKED, SMALL, cipher(), b"")
    for _ in range(2):
        writer.seal(b"x", last=False)
    with pytest.raises(RuntimeError, match="chunks=2"):
        writer.seal(b"", last=True)


def test_writer_counts_its_prefix_and_what_it_sealed() -> None:
    writer = Writer(Format.CHUNKED, SMALL, cipher(), b"p" * 30)
    with pytest.raises(RuntimeError, match="size_bytes=100"):
        writer.seal(bytes(47), last=False)
    # 30 + 1 + 46 + 16 bytes; the next needs at least 24.
    assert len(writer.seal(bytes(46), last=False)) == 93
    with pytest.raises(RuntimeError, match="size_bytes=100"):
        writer.seal(b"", last=True)


def test_reader_stops_at_the_size_of_the_body() -> None:
    context = cipher()
    chunk = b"\x22" + context.seal(bytes(18))
    reader = Reader(Format.CHUNKED, SMALL, cipher())
    assert reader.receive(chunk) == [bytes(18)]
    with pytest.raises(RequestError, match="exceeds 100"):
        reader.receive(bytes(100 - len(chunk) + 1))


def test_reader_stops_at_the_number_of_chunks() -> None:
    context = cipher()
    reader = Reader(Format.CHUNKED, SMALL, cipher())
    chunks = b"".join(b"\x11" + context.seal(b"1") for _ in range(3))
    with pytest.raises(RequestError, match="more than 2"):
        reader.receive(chunks)
    assert reader.opened == 2
