# SPDX-License-Identifier: Apache-2.0
"""The client's half of an exchange: what it refuses to send."""

import pytest

from attestation.verify import verify
from sottovoce import session
from sottovoce.session import (
    Content,
    Exchange,
    NoSuitableKeyError,
    RequestTooLargeError,
    TamperedResponse,
    TruncatedResponse,
)
from tests.fakes import hardware
from tests.fakes.courier import NOW, Ends, ends
from wire import bhttp, hpke, ohttp


def test_a_request_that_nobody_takes_is_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_CONTENT_BYTES", 10)
    with pytest.raises(RequestTooLargeError, match="11 bytes exceeds 10"):
        Exchange(ends().verified, "POST", "/", content=b"x" * 11, content_type="text/plain")


def test_nothing_is_sealed_to_a_classical_key_alone() -> None:
    classical = verify(hardware.evidence(), hardware.policy(), hardware.NOW)
    with pytest.raises(NoSuitableKeyError):
        Exchange(classical, "GET", "/v1/models", content=b"", content_type="")


def sealed_by_the_enclave(both: Ends, exchange: Exchange, message: bytes) -> bytes:
    """These bytes as an authentic answer, whatever they are."""
    start = ohttp.HEAD_SIZE + hpke.Kem.X_WING.enc_size
    head = ohttp.RequestHead.decode(exchange.body[: ohttp.HEAD_SIZE])
    key = both.ring.find(head.key_id, NOW).claim(b"")
    opener = ohttp.RequestOpener(head, ohttp.Format.CHUNKED, key, exchange.body[ohttp.HEAD_SIZE : start])
    opener.receive(exchange.body[start:])
    sealer = opener.response_sealer()
    return sealer.seal(message, last=False) + sealer.seal(b"", last=True)


def test_an_answer_without_its_terminators_is_cut_even_under_an_authentic_last_chunk() -> None:
    both = ends()
    exchange = both.exchange()
    half = bhttp.encode_response_head(bhttp.ResponseHead(200, ())) + bhttp.encode_content(b"half of it")
    assert Content(b"half of it") in exchange.receive(sealed_by_the_enclave(both, exchange, half))
    with pytest.raises(TruncatedResponse):
        exchange.end()


def test_what_is_no_answer_is_tampered_with() -> None:
    both = ends()
    exchange = both.exchange()
    with pytest.raises(TamperedResponse):
        exchange.receive(sealed_by_the_enclave(both, exchange, b"no message at all"))
