# SPDX-License-Identifier: Apache-2.0
"""The adapter for the Encrypted HTTP Body Protocol, with another implementation as its client."""

import ehbp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.ehbp import SUITE, BodyKeys, BodyReceiver, OpenedBody
from enclave.keys import GRACE_SECONDS, ROTATION_SECONDS
from enclave.session import MAX_CONTENT_BYTES, Aborted, OuterAnswer, Refused
from wire import hpke, ohttp

PATH, JSON = "/v1/chat/completions", "application/json"
BODY = b'{"messages":[]}'


@pytest.fixture
def keys() -> BodyKeys:
    """Keys at their beginning."""
    made = BodyKeys()
    made.renew(0.0)
    return made


def sealed(keys: BodyKeys, *pieces: bytes) -> tuple[bytes, ehbp.SessionRecoveryToken]:
    """A request as it comes over the link, each piece in a frame of its own."""
    identity = ehbp.ServerIdentity.unmarshal_public_config(keys.configuration())
    padded = [piece.ljust(64 * 1024) for piece in pieces[:-1]]  # the client's frames are that large
    request = identity.encrypt_request_body(b"".join([*padded, pieces[-1]]))
    assert request is not None
    return request.encapsulated_key + request.body, request.token


def opened(keys: BodyKeys, data: bytes, *, now: float = 0.0, step: int = 1 << 20) -> OpenedBody:
    """What the receiver makes of it, given so many bytes at a time."""
    receiver = BodyReceiver(keys, PATH, JSON)
    for start in range(0, len(data), step):
        receiver.receive(data[start : start + step], now)
    return receiver.end()


def refusal(keys: BodyKeys, data: bytes, *, now: float = 0.0) -> OuterAnswer:
    """The outer answer to it."""
    with pytest.raises(Refused) as refused:
        opened(keys, data, now=now)
    return refused.value.answer


def frames(answer: OpenedBody, *pieces: bytes) -> list[bytes]:
    """An answer's frames."""
    return [answer.answer.seal(piece) for piece in pieces]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_request_opens_in_whatever_pieces_it_comes(keys: BodyKeys, step: int) -> None:
    request = opened(keys, sealed(keys, BODY)[0], step=step).request
    assert (request.method, request.path, request.fields) == ("POST", PATH, {"content-type": JSON})
    assert (request.content, request.session) == (BODY, b"")


def test_a_request_in_frames_and_with_empty_ones(keys: BodyKeys) -> None:
    data, _ = sealed(keys, b"one", b"two")
    spaced = data[:32] + bytes(4) + data[32:] + bytes(8)
    assert opened(keys, spaced).request.content == b"one".ljust(64 * 1024) + b"two"


def test_the_answer_opens(keys: BodyKeys) -> None:
    data, token = sealed(keys, BODY)
    answer = opened(keys, data)
    body = b"".join(frames(answer, b"one", b"", b"two"))
    assert token.decrypt_response_body(answer.answer.nonce, body) == b"onetwo"


def test_a_cut_answer_looks_whole_to_this_protocol(keys: BodyKeys) -> None:
    """Why it is off by default: a client cannot tell."""
    data, token = sealed(keys, BODY)
    answer = opened(keys, data)
    first, _second = frames(answer, b"do not ", b"trust this")
    assert token.decrypt_response_body(answer.answer.nonce, first) == b"do not "


def test_two_answers_never_share_keys(keys: BodyKeys) -> None:
    nonces = {opened(keys, sealed(keys, BODY)[0]).answer.nonce for _ in range(8)}
    assert len(nonces) == 8


def test_a_replay_is_refused_also_by_the_retired_key(keys: BodyKeys) -> None:
    data, _ = sealed(keys, BODY)
    opened(keys, data)
    assert refusal(keys, data) is OuterAnswer.MALFORMED
    assert refusal(keys, data, now=ROTATION_SECONDS + 1) is OuterAnswer.MALFORMED


def test_two_copies_at_once_open_once(keys: BodyKeys) -> None:
    data, _ = sealed(keys, BODY)
    first, second = BodyReceiver(keys, PATH, JSON), BodyReceiver(keys, PATH, JSON)
    first.receive(data[:-1], 0.0)
    second.receive(data[:-1], 0.0)
    first.receive(data[-1:], 0.0)
    with pytest.raises(Refused):
        second.receive(data[-1:], 0.0)


def test_keys_retire_and_are_erased(keys: BodyKeys) -> None:
    old, waiting = sealed(keys, BODY)[0], sealed(keys, BODY)[0]
    before, epoch = keys.configuration(), keys.living()[0]
    keys.renew(ROTATION_SECONDS)
    assert keys.configuration() != before
    assert opened(keys, old, now=ROTATION_SECONDS + GRACE_SECONDS - 1).request.content == BODY
    keys.renew(ROTATION_SECONDS + GRACE_SECONDS)
    assert not epoch.keys
    assert refusal(keys, waiting, now=ROTATION_SECONDS + GRACE_SECONDS) is OuterAnswer.UNKNOWN_BODY_KEY


def test_garbage_is_a_key_that_is_not_known(keys: BodyKeys) -> None:
    data, _ = sealed(keys, BODY)
    for index in (0, 31, 36, len(data) - 1):
        spoiled = bytearray(data)
        spoiled[index] ^= 1
        assert refusal(keys, bytes(spoiled)) is OuterAnswer.UNKNOWN_BODY_KEY
    low_order = bytes(32) + data[32:]
    assert refusal(keys, low_order) is OuterAnswer.UNKNOWN_BODY_KEY
    assert opened(keys, data).request.content == BODY


@given(data=st.binary(max_size=200), step=st.integers(1, 50))
def test_no_bytes_do_anything_but_be_refused(data: bytes, step: int) -> None:
    made = BodyKeys()
    made.renew(0.0)
    with pytest.raises(Refused):
        opened(made, data, step=step)


@pytest.mark.parametrize("kept", [0, 5, 32, 34, 40])
def test_a_request_that_ends_too_soon_is_refused(keys: BodyKeys, kept: int) -> None:
    assert refusal(keys, sealed(keys, BODY)[0][:kept]) is OuterAnswer.MALFORMED


def test_a_fault_after_the_first_frame_ends_without_a_word(keys: BodyKeys) -> None:
    data, _ = sealed(keys, b"one", b"two")
    with pytest.raises(Aborted):
        opened(keys, data[:-1])
    spoiled, _ = sealed(keys, b"one", b"two")
    with pytest.raises(Aborted):
        opened(keys, spoiled[:-1] + bytes([spoiled[-1] ^ 1]))


@pytest.mark.parametrize("size", [(MAX_CONTENT_BYTES + 17).to_bytes(4, "big"), b"\xff\xff\xff\xff"])
def test_a_frame_that_is_too_large_is_refused_before_it_is_kept(keys: BodyKeys, size: bytes) -> None:
    assert refusal(keys, bytes([9]) + bytes(31) + size) is OuterAnswer.TOO_LARGE
    whole, _ = sealed(keys, BODY)
    with pytest.raises(Aborted):
        opened(keys, whole + size)


def test_what_is_sealed_for_the_other_protocol_does_not_open(keys: BodyKeys) -> None:
    configuration = ohttp.decode_configuration(keys.configuration())
    head = ohttp.RequestHead(configuration.key_id, SUITE).encode()
    for info, opens in ((b"ehbp request", True), (b"message/bhttp request\0" + head, False)):
        encapsulated, sender = hpke.setup_sender(SUITE, configuration.public_key, info)
        ciphertext = sender.seal(BODY)
        data = encapsulated + len(ciphertext).to_bytes(4, "big") + ciphertext
        if opens:
            assert opened(keys, data).request.content == BODY
        else:
            assert refusal(keys, data) is OuterAnswer.UNKNOWN_BODY_KEY
