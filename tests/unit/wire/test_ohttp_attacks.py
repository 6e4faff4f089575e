# SPDX-License-Identifier: Apache-2.0
"""OHTTP bodies that somebody touched (wire.md 7, tests 1, 3, 5, 10-15) yield nothing that was not sent."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.unit.wire.support import REFUSALS, SUITES, new_key, open_request, seal, split
from wire import ohttp, varint
from wire.hpke import Aead, Kdf, Kem, PrivateKey, SenderContext, Suite, setup_sender
from wire.ohttp import Format

CHUNKS = [b"first chunk", b"2", b"third", b"last"]
EVERY_BIT = (1, 2, 4, 8, 16, 32, 64, 128)
START = ohttp.HEAD_SIZE + Kem.X25519.enc_size


def sealed_request(
    kem: Kem = Kem.X25519, form: Format = Format.CHUNKED
) -> tuple[PrivateKey, ohttp.RequestSealer, list[bytes]]:
    private_key, configuration = new_key(kem)
    sealer = ohttp.RequestSealer(configuration, SUITES[0], form)
    return private_key, sealer, seal(sealer, CHUNKS if form is Format.CHUNKED else [b"".join(CHUNKS)])


def sealed_response() -> tuple[ohttp.RequestSealer, list[bytes]]:
    private_key, sealer, request = sealed_request()
    opener, _ = open_request(b"".join(request), private_key)
    return sealer, seal(opener.response_sealer(), CHUNKS)


def feed(opener: ohttp.RequestOpener | ohttp.ResponseOpener, body: bytes) -> None:
    """Open a body piece by piece. Whatever comes out before a refusal is what was sent, in order."""
    opened: list[bytes] = []
    for piece in split(body, range(0, len(body), 5)):
        opened += opener.receive(piece)
        assert opened == CHUNKS[: len(opened)]
    opener.end()


def feed_request(body: bytes, private_key: PrivateKey, form: Format) -> None:
    head = ohttp.RequestHead.decode(body[: ohttp.HEAD_SIZE])
    start = ohttp.HEAD_SIZE + head.suite.kem.enc_size
    feed(ohttp.RequestOpener(head, form, private_key, body[ohttp.HEAD_SIZE : start]), body[start:])


def refuse_request(body: bytes, private_key: PrivateKey, form: Format = Format.CHUNKED) -> None:
    with pytest.raises(REFUSALS):
        feed_request(body, private_key, form)


def refuse_response(body: bytes, opener: ohttp.ResponseOpener) -> None:
    with pytest.raises((ohttp.OpenError, ohttp.Truncated)):
        feed(opener, body)


def flips(body: bytes, masks: tuple[int, ...] = EVERY_BIT) -> Iterator[bytes]:
    for position, mask in itertools.product(range(len(body)), masks):
        changed = bytearray(body)
        changed[position] ^= mask
        yield bytes(changed)


def crafted(
    chunked: Callable[[SenderContext], bytes], private_key: PrivateKey | None = None
) -> tuple[ohttp.RequestOpener, bytes]:
    """Return an opener and the body that a client would send that keeps no rules but knows the key."""
    if private_key is None:
        private_key, _ = new_key()
    head = ohttp.RequestHead(7, Suite(Kem.X25519, *SUITES[0]))
    info = b"message/bhttp chunked request\0" + head.encode()
    enc, context = setup_sender(head.suite, private_key.public_key, info)
    return ohttp.RequestOpener(head, Format.CHUNKED, private_key, enc), chunked(context)


def framed(ciphertext: bytes) -> bytes:
    return varint.encode(len(ciphertext)) + ciphertext


@pytest.mark.parametrize("form", Format)
def test_every_flipped_bit_of_a_request_is_refused(form: Format) -> None:
    private_key, _, sealed = sealed_request(form=form)
    for changed in flips(b"".join(sealed)):
        refuse_request(changed, private_key, form)


def test_every_flipped_byte_of_an_x_wing_request_is_refused() -> None:
    private_key, _, sealed = sealed_request(Kem.X_WING)
    for changed in flips(b"".join(sealed), (0x80,)):
        refuse_request(changed, private_key)


def test_every_flipped_bit_of_a_response_is_refused() -> None:
    sealer, sealed = sealed_response()
    for changed in flips(b"".join(sealed)):
        refuse_response(changed, sealer.response_opener())


@pytest.mark.parametrize("form", Format)
def test_every_truncation_of_a_request_is_refused(form: Format) -> None:
    private_key, _, sealed = sealed_request(form=form)
    body = b"".join(sealed)
    for size in range(len(body)):
        refuse_request(body[:size], private_key, form)


def test_every_truncation_of_a_response_is_refused() -> None:
    sealer, sealed = sealed_response()
    body = b"".join(sealed)
    for size in range(len(body)):
        refuse_response(body[:size], sealer.response_opener())


def test_truncation_between_chunks_is_told_apart() -> None:
    private_key, sealer, sealed = sealed_request()
    for count in range(1, len(sealed)):
        with pytest.raises(ohttp.Truncated):
            open_request(b"".join(sealed[:count]), private_key)
    sealer, sealed = sealed_response()
    for count in range(len(sealed)):
        opener = sealer.response_opener()
        opener.receive(b"".join(sealed[:count]))
        with pytest.raises(ohttp.Truncated):
            opener.end()


def test_truncation_within_a_chunk_is_told_apart() -> None:
    opener, body = crafted(lambda context: framed(context.seal(b"x" * 100)))
    assert opener.receive(body[:-1]) == []
    with pytest.raises(ohttp.Truncated):
        opener.end()


def test_response_that_ends_within_its_nonce_is_truncated() -> None:
    sealer, sealed = sealed_response()
    for size in (0, 31):
        opener = sealer.response_opener()
        assert opener.receive(sealed[0][:size]) == []
        with pytest.raises(ohttp.Truncated):
            opener.end()
        with pytest.raises(RuntimeError, match="after its end"):
            opener.receive(sealed[0][size:])
        with pytest.raises(RuntimeError, match="after its end"):
            opener.end()


def test_any_other_order_or_choice_of_request_chunks_is_refused() -> None:
    private_key, _, sealed = sealed_request()
    prefix, pieces = sealed[0][:START], [sealed[0][START:], *sealed[1:]]
    tried = 0
    for count in range(6):
        for chosen in itertools.product(pieces, repeat=count):
            if list(chosen) != pieces:
                refuse_request(prefix + b"".join(chosen), private_key)
                tried += 1
    assert tried == sum(4**count for count in range(6)) - 1


def test_any_other_order_or_choice_of_response_chunks_is_refused() -> None:
    sealer, sealed = sealed_response()
    size = 32
    nonce, pieces = sealed[0][:size], [sealed[0][size:], *sealed[1:]]
    for count in range(5):
        for chosen in itertools.product(pieces, repeat=count):
            if list(chosen) != pieces:
                refuse_response(nonce + b"".join(chosen), sealer.response_opener())


def test_response_of_another_exchange_is_refused() -> None:
    sealer, sealed = sealed_response()
    other, _ = sealed_response()
    refuse_response(b"".join(sealed), other.response_opener())
    # A response without its nonce, and one beneath the nonce of another response.
    refuse_response(b"".join(sealed)[32:], sealer.response_opener())
    refuse_response(bytes(32) + b"".join(sealed)[32:], sealer.response_opener())


def test_request_sent_to_another_key_is_refused() -> None:
    _, _, sealed = sealed_request()
    private_key, _ = new_key()
    refuse_request(b"".join(sealed), private_key)


@pytest.mark.parametrize("kdf_aead", [(0, 1), (1, 1), (1, 3), (1, 4), (1, 0xFFFF), (2, 2)])
def test_head_edited_to_another_suite_is_refused(kdf_aead: tuple[int, int]) -> None:
    private_key, _, sealed = sealed_request()
    edited = b"".join(number.to_bytes(2, "big") for number in kdf_aead)
    refuse_request(sealed[0][:3] + edited + b"".join(sealed)[7:], private_key)


@pytest.mark.parametrize("kem", [0x0010, 0x647A])
def test_head_edited_to_another_kem_is_refused(kem: int) -> None:
    private_key, _, sealed = sealed_request()
    refuse_request(sealed[0][:1] + kem.to_bytes(2, "big") + b"".join(sealed)[3:] + bytes(2000), private_key)


@pytest.mark.parametrize("size", [0, 1, 6, 8])
def test_head_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ohttp.RequestError):
        ohttp.RequestHead.decode(bytes.fromhex("0700200001000200")[:size])


@pytest.mark.parametrize("form", Format)
def test_body_of_the_other_format_is_refused(form: Format) -> None:
    private_key, _, sealed = sealed_request(form=form)
    other = Format.WHOLE if form is Format.CHUNKED else Format.CHUNKED
    refuse_request(b"".join(sealed), private_key, other)


def test_body_of_nothing_but_head_and_enc_is_refused() -> None:
    private_key, _, sealed = sealed_request()
    for form in Format:
        with pytest.raises(ohttp.Truncated):
            open_request(sealed[0][:START], private_key, form)


def test_last_chunk_sealed_like_any_other_is_refused() -> None:
    opener, body = crafted(lambda context: b"\0" + context.seal(b"end", b""))
    assert opener.receive(body) == []
    with pytest.raises(ohttp.OpenError):
        opener.end()


def test_chunk_sealed_like_the_last_is_refused_before_it() -> None:
    opener, body = crafted(lambda context: framed(context.seal(b"end", b"final")))
    with pytest.raises(ohttp.OpenError):
        opener.receive(body)


def test_last_marker_with_nothing_behind_is_truncated() -> None:
    opener, body = crafted(lambda context: framed(context.seal(b"chunk")) + b"\0")
    assert opener.receive(body) == [b"chunk"]
    with pytest.raises(ohttp.Truncated):
        opener.end()


def test_bytes_behind_the_last_chunk_are_refused() -> None:
    private_key, _, sealed = sealed_request()
    refuse_request(b"".join(sealed) + b"\0", private_key)

    # A second last chunk, sealed with the next nonce.
    def twice(context: SenderContext) -> bytes:
        return b"".join(b"\0" + context.seal(b"", b"final") for _ in range(2))

    opener, body = crafted(twice)
    opener.receive(body)
    with pytest.raises(ohttp.OpenError):
        opener.end()


@pytest.mark.parametrize(
    "length", [1, 15, 16, ohttp.MAX_CHUNK_CIPHERTEXT + 1, 2**14 + 2**10, 2**30, varint.MAX]
)
def test_length_out_of_range_is_refused_before_any_byte_of_the_chunk(length: int) -> None:
    opener, _ = crafted(lambda context: context.seal(b""))
    with pytest.raises(ohttp.RequestError):
        opener.receive(varint.encode(length))


def test_empty_chunk_before_the_last_is_refused() -> None:
    opener, body = crafted(lambda context: framed(context.seal(b"")))
    with pytest.raises(ohttp.RequestError):
        opener.receive(body)


@pytest.mark.parametrize("form", ["40{:02x}", "800000{:02x}", "c0000000000000{:02x}"])
def test_longer_forms_of_lengths_are_accepted(form: str) -> None:
    def long_winded(context: SenderContext) -> bytes:
        chunk = bytes.fromhex(form.format(17)) + context.seal(b"1")
        return chunk + bytes.fromhex(form.format(0)) + context.seal(b"2", b"final")

    opener, body = crafted(long_winded)
    assert opener.receive(body) + opener.end() == [b"1", b"2"]


def test_last_chunk_may_have_the_full_size_and_no_more() -> None:
    full = ohttp.MAX_CHUNK_PLAINTEXT
    opener, body = crafted(lambda context: b"\0" + context.seal(bytes(full), b"final"))
    assert opener.receive(body) + opener.end() == [bytes(full)]
    opener, body = crafted(lambda context: b"\0" + context.seal(bytes(full + 1), b"final"))
    with pytest.raises(ohttp.RequestError):
        opener.receive(body)


def test_too_many_chunks_are_refused() -> None:
    def many(context: SenderContext) -> bytes:
        chunks = b"".join(b"\x11" + context.seal(b"1") for _ in range(ohttp.MAX_CHUNKS))
        return chunks + b"\0" + context.seal(b"", b"final")

    opener, body = crafted(many)
    assert len(opener.receive(body)) == ohttp.MAX_CHUNKS
    with pytest.raises(ohttp.RequestError):
        opener.end()


def test_too_long_a_whole_request_is_refused_before_its_end() -> None:
    private_key, sealer, _ = sealed_request(form=Format.WHOLE)
    head = ohttp.RequestHead(7, Suite(Kem.X25519, *SUITES[0]))
    opener = ohttp.RequestOpener(head, Format.WHOLE, private_key, sealer.encapsulated)
    quarter = bytes(ohttp.MAX_BODY_BYTES // 4)
    assert [opener.receive(quarter) for _ in range(4)] == [[]] * 4
    with pytest.raises(ohttp.RequestError):
        opener.receive(b"\0")


def test_over_long_response_is_refused() -> None:
    sealer, sealed = sealed_response()
    opener = sealer.response_opener()
    opener.receive(b"".join(sealed))
    with pytest.raises(ohttp.OpenError):
        opener.receive(bytes(ohttp.MAX_CHUNK_CIPHERTEXT))


def test_request_opener_is_dead_after_an_error() -> None:
    opener, body = crafted(lambda context: framed(context.seal(b"fine")) + framed(b"x" * 20))
    with pytest.raises(ohttp.OpenError):
        opener.receive(body)
    # The first chunk was authentic, so whoever sent this held the key: a one-time key is used up.
    assert opener.authenticated
    with pytest.raises(RuntimeError, match="after an error"):
        opener.receive(b"")
    with pytest.raises(RuntimeError, match="after an error"):
        opener.end()


def test_failed_first_chunk_leaves_the_request_unauthenticated() -> None:
    opener, body = crafted(lambda context: framed(context.seal(b"fine")))
    with pytest.raises(ohttp.OpenError):
        opener.receive(body[:-1] + bytes([body[-1] ^ 1]))
    assert not opener.authenticated
    with pytest.raises(RuntimeError, match="before the request is authenticated"):
        opener.response_sealer()


def test_openers_serve_one_body() -> None:
    private_key, sealer, sealed = sealed_request()
    request_opener, _ = open_request(b"".join(sealed), private_key)
    response_opener = sealer.response_opener()
    response_opener.receive(request_opener.response_sealer().seal(b"x", last=True))
    assert response_opener.end() == [b"x"]
    for opener in (request_opener, response_opener):
        with pytest.raises(RuntimeError, match="after its end"):
            opener.receive(b"")
        with pytest.raises(RuntimeError, match="after its end"):
            opener.end()


def test_response_opener_is_dead_after_an_error() -> None:
    sealer, sealed = sealed_response()
    opener = sealer.response_opener()
    with pytest.raises(ohttp.OpenError):
        opener.receive(sealed[0] + framed(b"x" * 20))
    with pytest.raises(RuntimeError, match="after an error"):
        opener.receive(b"")
    with pytest.raises(RuntimeError, match="after an error"):
        opener.end()


def test_broken_rules_of_our_own_side_are_our_mistakes() -> None:
    _, configuration = new_key()
    with pytest.raises(RuntimeError, match="not one of the key configuration"):
        ohttp.RequestSealer(configuration, (Kdf.HKDF_SHA256, Aead.CHACHA20_POLY1305))
    sealer = ohttp.RequestSealer(configuration, SUITES[0])
    with pytest.raises(RuntimeError, match="16385 bytes exceeds 16384"):
        sealer.seal(bytes(16385), last=False)
    with pytest.raises(RuntimeError, match="may be empty"):
        sealer.seal(b"", last=False)
    sealer.seal(b"", last=True)
    with pytest.raises(RuntimeError, match="after the last chunk"):
        sealer.seal(b"", last=True)
    whole = ohttp.RequestSealer(configuration, SUITES[0], Format.WHOLE)
    with pytest.raises(RuntimeError, match="in one piece"):
        whole.seal(b"part", last=False)
    with pytest.raises(RuntimeError, match="body exceeds"):
        whole.seal(bytes(ohttp.MAX_BODY_BYTES), last=True)
