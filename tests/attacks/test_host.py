# SPDX-License-Identifier: Apache-2.0
"""A hostile host between a client and an enclave: it holds every byte, and alters what it likes."""

import itertools
from collections.abc import Callable

import pytest

from enclave.session import Aborted, OuterAnswer, Refused
from sottovoce.session import AnswerError, TamperedResponse, TruncatedResponse
from tests.fakes.courier import PIECES, PROMPT, Ends, chunk_borders, content_of, ends, read
from wire import hpke, ohttp

RESPONSE_NONCE_BYTES = 32
REQUEST_START = ohttp.HEAD_SIZE + hpke.Kem.X_WING.enc_size


@pytest.fixture(scope="module")
def honest() -> Ends:
    """An enclave and its client; each test makes its own exchanges."""
    return ends()


def test_an_honest_host_delivers(honest: Ends) -> None:
    exchange = honest.exchange()
    assert read(exchange, honest.answer(exchange)) == (200, b"".join(PIECES))


def test_host_replays_a_request(honest: Ends) -> None:
    exchange = honest.exchange()
    assert content_of(honest.receive(exchange.body)) == PROMPT
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            honest.receive(exchange.body)
        assert refused.value.answer is OuterAnswer.MALFORMED


def test_host_replays_a_request_with_another_ending(honest: Ends) -> None:
    exchange = honest.exchange()
    honest.receive(exchange.body)
    with pytest.raises(Refused):
        honest.receive(exchange.body[:-1])


def test_host_replays_a_request_after_a_restart(honest: Ends) -> None:
    exchange = honest.exchange()
    restarted = ends(first_epoch=77)
    with pytest.raises(Refused) as refused:
        restarted.receive(exchange.body)
    assert refused.value.answer is OuterAnswer.UNKNOWN_KEY


def test_host_sends_a_request_to_another_enclave(honest: Ends) -> None:
    same_key_identifier = ends()
    with pytest.raises(Refused) as refused:
        same_key_identifier.receive(honest.exchange().body)
    assert refused.value.answer is OuterAnswer.MALFORMED


def test_host_truncates_the_answer_at_every_chunk_border(honest: Ends) -> None:
    borders = chunk_borders(honest.answer(honest.exchange()), RESPONSE_NONCE_BYTES)
    assert len(borders) == 2 + len(PIECES) + 2
    for border in [0, *borders[:-1]]:
        exchange = honest.exchange()
        with pytest.raises(TruncatedResponse):
            read(exchange, honest.answer(exchange)[:border])


def test_host_truncates_the_answer_at_every_byte(honest: Ends) -> None:
    size = len(honest.answer(honest.exchange()))
    for end in range(size):
        exchange = honest.exchange()
        with pytest.raises(AnswerError):
            read(exchange, honest.answer(exchange)[:end])


def test_host_truncates_the_request_at_every_chunk_border(honest: Ends) -> None:
    for border in [0, *chunk_borders(honest.exchange().body, REQUEST_START)[:-1]]:
        with pytest.raises((Refused, Aborted)):
            honest.receive(honest.exchange().body[:border])


def rearrangements() -> list[tuple[str, Callable[[list[bytes]], list[bytes]]]]:
    """Ways to deliver sealed chunks otherwise than they were sent."""
    chunks = 1 + len(PIECES) + 1
    swaps = itertools.combinations(range(chunks), 2)
    return [
        *[(f"swap-{a}-{b}", lambda items, a=a, b=b: _swapped(items, a, b)) for a, b in swaps],
        *[(f"duplicate-{i}", lambda items, i=i: items[: i + 1] + items[i:]) for i in range(chunks)],
        *[(f"drop-{i}", lambda items, i=i: items[:i] + items[i + 1 :]) for i in range(chunks)],
        ("final-chunk-first", lambda items: [items[-1], *items[:-1]]),
        ("two-final-chunks", lambda items: [*items, items[-1]]),
    ]


def _swapped(items: list[bytes], first: int, second: int) -> list[bytes]:
    swapped = list(items)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    return swapped


@pytest.mark.parametrize("rearrange", [pytest.param(way, id=name) for name, way in rearrangements()])
def test_host_reorders_or_duplicates_or_drops_chunks(
    honest: Ends, rearrange: Callable[[list[bytes]], list[bytes]]
) -> None:
    exchange = honest.exchange()
    body = honest.answer(exchange)
    borders = chunk_borders(body, RESPONSE_NONCE_BYTES)
    chunks = [body[start:end] for start, end in itertools.pairwise(borders)]
    with pytest.raises(AnswerError):
        read(exchange, body[:RESPONSE_NONCE_BYTES] + b"".join(rearrange(chunks)))


def test_host_appends_to_the_answer(honest: Ends) -> None:
    exchange = honest.exchange()
    with pytest.raises(TamperedResponse):
        read(exchange, honest.answer(exchange) + b"\0")


def test_host_flips_a_bit_of_the_answer(honest: Ends) -> None:
    size = len(honest.answer(honest.exchange()))
    for position in range(0, size, 7):
        exchange = honest.exchange()
        body = bytearray(honest.answer(exchange))
        body[position] ^= 1 << position % 8
        with pytest.raises(AnswerError):
            read(exchange, bytes(body))


def test_host_gives_the_answer_of_another_exchange(honest: Ends) -> None:
    first, second = honest.exchange(), honest.exchange()
    with pytest.raises(TamperedResponse):
        read(second, honest.answer(first))


def test_host_replays_an_old_answer(honest: Ends) -> None:
    exchange = honest.exchange()
    old = honest.answer(exchange)
    assert read(exchange, old)[0] == 200
    with pytest.raises(TamperedResponse):
        read(honest.exchange(), old)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/event-stream", "message/ohttp-res", "message/ohttp-chunked-req", ""],
)
def test_host_answers_in_plaintext(honest: Ends, content_type: str) -> None:
    with pytest.raises(TamperedResponse):
        honest.exchange().check_media_type(content_type)


def test_host_answers_in_plaintext_under_the_right_media_type(honest: Ends) -> None:
    forged = b'HTTP/1.1 200 OK\r\n\r\ndata: {"choices":[{"delta":{"content":"drink it"}}]}\n\n'
    with pytest.raises(AnswerError):
        read(honest.exchange(), forged)


@pytest.mark.parametrize("position", range(1, ohttp.HEAD_SIZE))
def test_host_edits_the_suite_of_a_request(honest: Ends, position: int) -> None:
    for value in (0, 1, 2, 3, 0x20, 0x64, 0x7A, 0xFF):
        body = bytearray(honest.exchange().body)
        if body[position] != value:
            body[position] = value
            with pytest.raises(Refused) as refused:
                honest.receive(bytes(body))
            assert refused.value.answer is OuterAnswer.MALFORMED


def test_host_flips_a_bit_of_the_request(honest: Ends) -> None:
    size = len(honest.exchange().body)
    positions = [*range(ohttp.HEAD_SIZE), *range(ohttp.HEAD_SIZE, size, 97), size - 1]
    for position in positions:
        body = bytearray(honest.exchange().body)
        body[position] ^= 0x10
        with pytest.raises((Refused, Aborted)):
            honest.receive(bytes(body))


def test_garbage_does_not_fill_the_memory_of_replays(honest: Ends) -> None:
    before = honest.epoch.remembered
    for number in range(200):
        body = bytearray(honest.exchange().body)
        body[-1 - number % 16] ^= 1
        body[REQUEST_START + 4] ^= 1
        with pytest.raises(Refused):
            honest.receive(bytes(body))
    assert honest.epoch.remembered == before


def test_host_learns_no_cause_from_a_refusal(honest: Ends) -> None:
    good = honest.exchange().body
    honest.receive(good)
    wrong_tag = bytearray(honest.exchange().body)
    wrong_tag[REQUEST_START + 10] ^= 1
    low_order = good[: ohttp.HEAD_SIZE] + bytes(hpke.Kem.X_WING.enc_size) + good[REQUEST_START:]
    bodies = [b"", good[:3], good[:7], good[:100], good, bytes(wrong_tag), low_order]
    answers: set[bytes] = set()
    for body in bodies:
        with pytest.raises(Refused) as refused:
            honest.receive(body)
        answers.add(refused.value.answer.body)
        assert refused.value.answer.status == 400
    assert len(answers) == 1


def test_client_sends_nothing_to_a_weaker_key(honest: Ends) -> None:
    assert honest.exchange().body[1:3] == hpke.Kem.X_WING.to_bytes(2, "big")
