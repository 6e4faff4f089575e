# SPDX-License-Identifier: Apache-2.0
"""What a client of the session protocol must refuse: the negative tests of wire.md 7 by number.

Client and enclave are the real ones, the host between them is the attacker. "Nothing was sent" means that the
host saw no request but, at most, session requests, which hold nothing of a user.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from attestation import binding
from attestation.binding import TeeOctet
from attestation.evidence import Evidence, EvidenceError
from attestation.simulated.snp import TCB, ReportFields
from attestation.snp.report import GuestPolicy
from attestation.verify import VerificationError
from enclave.sessions import make_session
from sottovoce.chat import ApiError, Turn
from sottovoce.courier import RefusedByHostError
from sottovoce.one_time_keys import NoKeyError, OneTimeKey
from sottovoce.opening import KEYS, WrongSessionError
from sottovoce.session import AnswerError, Exchange, NoSuitableKeyError, TamperedResponse, TruncatedResponse
from sottovoce.transport import GATEWAY_PATH, Connection
from tests.fakes import hardware
from tests.fakes.courier import chunk_borders
from tests.fakes.relay import JSON, PIECES, PROBLEM, TEXTS, Enclave, Host, Outer, guest
from wire import bhttp, hpke, merkle, ohttp
from wire.session import (
    GATEWAY_PREFIX,
    SESSION_PATH,
    SessionRequest,
    SessionResponse,
    decode_request,
    decode_response,
)

QUESTION = [Turn("user", "is it malignant?")]
ANSWER = "".join(TEXTS)
REQUEST_START = ohttp.HEAD_SIZE + hpke.Kem.X_WING.enc_size
RESPONSE_NONCE_BYTES = 32
# One machine for all tests: the evidence of each enclave is signed anew, and that is what differs.
MACHINE = guest()
Refusals = type[Exception] | tuple[type[Exception], ...]


@pytest.fixture
def host() -> Host:
    """An honest host in front of a new enclave."""
    return Host(Enclave(MACHINE))


def ask(connection: Connection) -> str:
    """The answer to the question."""
    return "".join(connection.chat("model", QUESTION))


def prompts_sent(host: Host) -> list[str]:
    """The paths of requests that could hold a prompt."""
    return [path for path, _ in host.posts if path.startswith(GATEWAY_PREFIX)]


def refused_for_good(host: Host, connection: Connection, error: Refusals) -> None:
    """The client refuses, and then sends nothing to anyone behind this address."""
    with pytest.raises(error):
        ask(connection)
    seen = len(host.posts)
    host.document, host.deliver = host.enclave.get, host.honestly
    with pytest.raises(error):
        ask(connection)
    assert len(host.posts) == seen
    assert prompts_sent(host) == []
    assert host.enclave.calls == []


def test_00_an_honest_host_delivers(host: Host) -> None:
    with host.connect() as connection:
        assert ask(connection) == ANSWER
        assert connection.open().enclave.evidence.mode == binding.FRESH
    assert len(prompts_sent(host)) == 1


def edited_lists() -> list[tuple[str, Callable[[tuple[ohttp.KeyConfiguration, ...]], bytes]]]:
    """Key lists that a host would like better than the one that was signed."""
    return [
        ("entry-dropped", lambda keys: ohttp.encode_key_list(keys[:1])),
        ("hybrid-dropped", lambda keys: ohttp.encode_key_list(keys[1:])),
        ("order-swapped", lambda keys: ohttp.encode_key_list(keys[::-1])),
        ("key-flipped", lambda keys: _flipped(ohttp.encode_key_list(keys), 300)),
        ("trailing-byte", lambda keys: ohttp.encode_key_list(keys) + b"\0"),
        ("duplicate", lambda keys: ohttp.encode_key_list((keys[0], keys[0]))),
        ("bare", lambda keys: keys[0].encode()),
        ("empty", lambda _: b""),
    ]


def _flipped(data: bytes, position: int, bit: int = 0) -> bytes:
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


@pytest.mark.parametrize("edit", [pytest.param(edit, id=name) for name, edit in edited_lists()])
def test_23_the_key_list_is_edited(
    host: Host, edit: Callable[[tuple[ohttp.KeyConfiguration, ...]], bytes]
) -> None:
    keys = ohttp.decode_key_list(host.enclave.evidence.keys)
    spoiled = replace(host.enclave.evidence, keys=edit(keys)).encode()
    host.document = lambda: Outer(200, JSON, spoiled)
    with host.connect() as connection:
        refused_for_good(host, connection, VerificationError)
    assert host.posts == []


def public_documents() -> list[tuple[str, Callable[[Enclave], Evidence]]]:
    """Public documents that prove less than they seem to."""

    def reported(enclave: Enclave, spoil: Callable[[ReportFields], ReportFields]) -> Evidence:
        return hardware.evidence(
            enclave.guest, keys=enclave.epoch.key_list, claims=enclave.claims, spoil=spoil
        )

    def other_epoch(enclave: Enclave) -> Evidence:
        before = enclave.evidence
        enclave.rotate()
        return replace(enclave.evidence, report=before.report)

    def fresh_as_cached(enclave: Enclave) -> Evidence:
        own = merkle.leaf(bytes(32), b"", b"")
        return replace(enclave.fresh(own), mode=binding.CACHED, path=(), index=0)

    return [
        ("claims-serialized-anew", lambda it: replace(it.evidence, claims=it.evidence.claims + b" ")),
        ("key-list-serialized-anew", lambda it: replace(it.evidence, keys=it.evidence.keys + b"\0\0")),
        ("commitment-of-another-epoch", other_epoch),
        ("fresh-report-as-cached", fresh_as_cached),
        (
            "octet-of-real-hardware",
            lambda it: hardware.evidence(
                it.guest, keys=it.epoch.key_list, claims=it.claims, octet=TeeOctet.SEV_SNP
            ),
        ),
        ("other-chip", lambda it: reported(it, lambda fields: replace(fields, chip_id=bytes([8]) * 64))),
        (
            "newer-firmware-than-certified",
            lambda it: reported(it, lambda fields: replace(fields, reported_tcb=b"\xff" + TCB[1:])),
        ),
        (
            "debug",
            lambda it: reported(it, lambda fields: replace(fields, policy=fields.policy | GuestPolicy.DEBUG)),
        ),
    ]


@pytest.mark.parametrize("document", [pytest.param(make, id=name) for name, make in public_documents()])
def test_24_public_evidence_is_spoiled(host: Host, document: Callable[[Enclave], Evidence]) -> None:
    spoiled = document(host.enclave).encode()
    host.document = lambda: Outer(200, JSON, spoiled)
    with host.connect() as connection:
        refused_for_good(host, connection, (VerificationError, EvidenceError))
    assert host.posts == []


def session_documents() -> list[tuple[str, Callable[[Enclave, merkle.Leaf], Evidence]]]:
    """Evidence in a session response that is not for this session."""
    other = merkle.leaf(b"\1" * 32, b"others' keys", b"enc of others")

    def in_a_batch(enclave: Enclave, own: merkle.Leaf) -> Evidence:
        return hardware.fresh_evidence(
            own, others=(other,), machine=enclave.guest, keys=enclave.epoch.key_list, claims=enclave.claims
        )

    def zero_root(enclave: Enclave, _: merkle.Leaf) -> Evidence:
        return replace(enclave.evidence, mode=binding.FRESH)

    def other_run(enclave: Enclave, own: merkle.Leaf) -> Evidence:
        claims = replace(enclave.claims, receipt_key=bytes([9]) * 32)
        return hardware.fresh_evidence(own, machine=enclave.guest, keys=enclave.epoch.key_list, claims=claims)

    def other_machine(enclave: Enclave, own: merkle.Leaf) -> Evidence:
        machine = hardware.guest("neighbour")
        signed = hardware.fresh_evidence(
            own, machine=machine, keys=enclave.epoch.key_list, claims=enclave.claims
        )
        return bare(signed)

    return [
        ("of-another-session", lambda it, _: it.fresh(other)),
        ("of-another-machine", other_machine),
        ("cached", lambda it, _: it.evidence),
        ("root-of-zeros", zero_root),
        ("wrong-index", lambda it, own: replace(in_a_batch(it, own), index=0)),
        ("index-outside", lambda it, own: replace(in_a_batch(it, own), index=2)),
        ("foreign-path", lambda it, own: replace(in_a_batch(it, own), path=(own,))),
        ("no-path", lambda it, own: replace(in_a_batch(it, own), path=(), index=0)),
        ("of-another-run", other_run),
        ("of-other-keys", lambda it, own: replace(it.fresh(own), keys=Enclave(MACHINE).epoch.key_list)),
    ]


@pytest.mark.parametrize("spoil", [pytest.param(make, id=name) for name, make in session_documents()])
def test_24_evidence_of_the_session_is_spoiled(
    host: Host, spoil: Callable[[Enclave, merkle.Leaf], Evidence]
) -> None:
    host.enclave.evidence_for = lambda leaf: spoil(host.enclave, leaf)
    with host.connect() as connection:
        refused_for_good(host, connection, (VerificationError, EvidenceError, WrongSessionError))
    assert [path for path, _ in host.posts] == [GATEWAY_PATH]


def test_24_a_place_in_a_batch_is_accepted_where_it_is_the_right_one(host: Host) -> None:
    it, others = host.enclave, (merkle.leaf(b"\1" * 32, b"others' keys", b"enc of others"),)
    it.evidence_for = lambda leaf: hardware.fresh_evidence(
        leaf, others=others, machine=it.guest, keys=it.epoch.key_list, claims=it.claims
    )
    with host.connect() as connection:
        assert ask(connection) == ANSWER


def bare(evidence: Evidence) -> Evidence:
    """What an enclave sends whose hardware gives a report and nothing else."""
    return replace(evidence, chain=(), crl=b"")


def test_24_the_host_adds_endorsements_to_the_public_document_alone(host: Host) -> None:
    it = host.enclave
    it.evidence_for = lambda leaf: bare(it.fresh(leaf))
    with host.connect() as connection:
        assert ask(connection) == ANSWER
        assert connection.open().enclave.evidence.chain == it.evidence.chain


class Thief:
    """An attacker who has the private keys of the epoch in force, taken out of the enclave's memory."""

    def __init__(self, enclave: Enclave) -> None:
        self._keys = enclave.epoch.keys
        self._opener: ohttp.RequestOpener | None = None

    def open(self, body: bytes) -> bytes:
        """The content of a request under an epoch key. Raises OpenError for any other."""
        head = ohttp.RequestHead.decode(body[: ohttp.HEAD_SIZE])
        enc = body[ohttp.HEAD_SIZE : REQUEST_START]
        self._opener = ohttp.RequestOpener(
            head, ohttp.Format.CHUNKED, self._keys.get(head.key_id, self._any_key()), enc
        )
        chunks = self._opener.receive(body[REQUEST_START:]) + self._opener.end()
        decoder = bhttp.RequestDecoder()
        events = [event for chunk in chunks for event in decoder.receive(chunk)] + decoder.end()
        return b"".join(event.data for event in events if isinstance(event, bhttp.Content))

    def answer(self, response: SessionResponse) -> Outer:
        """An answer to it, which no client can tell from the enclave's."""
        assert self._opener is not None
        head = bhttp.ResponseHead(201, (("content-type", JSON),))
        sealer = self._opener.response_sealer()
        message = bhttp.encode_response(head, response.encode())
        pieces = [message[start : start + 16384] for start in range(0, len(message), 16384)]
        sealed = b"".join(sealer.seal(piece, last=False) for piece in pieces) + sealer.seal(b"", last=True)
        return Outer(200, ohttp.CHUNKED_RESPONSE, sealed)

    def _any_key(self) -> hpke.PrivateKey:
        return next(key for key in self._keys.values() if key.kem is hpke.Kem.X_WING)


def honest_session(host: Host, nonce: bytes) -> tuple[SessionResponse, bytes]:
    """A session that the attacker opens for itself, with somebody else's nonce; and its `enc`."""
    keys = ohttp.decode_key_list(host.enclave.evidence.keys)
    sealer = ohttp.RequestSealer(keys[0], keys[0].suites[0])
    content = SessionRequest(nonce, True, KEYS).encode()
    message = bhttp.encode_request(
        bhttp.RequestHead("POST", "https", "llm.example", SESSION_PATH, ()), content, padded_size=1024
    )
    outer = host.enclave.post(
        GATEWAY_PATH, ohttp.CHUNKED_REQUEST, [sealer.seal(message, last=False) + sealer.seal(b"", last=True)]
    )
    opener, decoder = sealer.response_opener(), bhttp.ResponseDecoder()
    events = [event for chunk in opener.receive(outer.body) for event in decoder.receive(chunk)]
    content = b"".join(event.data for event in events if isinstance(event, bhttp.Content))
    return decode_response(content), sealer.encapsulated


def with_own_keys(thief: Thief, host: Host, body: bytes) -> Outer:
    """Keys of the attacker's own, under the evidence of the epoch, which is genuine."""
    thief.open(body)
    session = make_session(host.enclave.claims.receipt_key[:4], KEYS)
    document = replace(host.enclave.evidence, mode=binding.FRESH).encode()
    return thief.answer(SessionResponse(session.identifier, session.key_list, 3600, 1024, document))


def with_a_report_for_another(thief: Thief, host: Host, body: bytes) -> Outer:
    """Keys of the attacker's own, under an honest report over the same nonce for the attacker's session."""
    wanted = decode_request(thief.open(body))
    honest, _ = honest_session(host, wanted.nonce)
    session = make_session(honest.session_id.route_tag, KEYS)
    return thief.answer(replace(honest, keys=session.key_list, session_id=session.identifier))


def with_a_session_of_its_own(thief: Thief, host: Host, body: bytes) -> Outer:
    """An honest session with an honest report over the same nonce, which the attacker opened for itself."""
    wanted = decode_request(thief.open(body))
    honest, _ = honest_session(host, wanted.nonce)
    return thief.answer(honest)


@pytest.mark.parametrize("way", [with_own_keys, with_a_report_for_another, with_a_session_of_its_own])
def test_25_a_leaked_epoch_key_answers_the_session_request(
    host: Host, way: Callable[[Thief, Host, bytes], Outer]
) -> None:
    thief = Thief(host.enclave)
    host.deliver = lambda _path, _type, body: way(thief, host, body)
    with host.connect() as connection:
        refused_for_good(host, connection, VerificationError)


def test_25_a_leaked_epoch_key_reads_no_request_of_a_session(host: Host) -> None:
    """The attacker passes everything on, and reads along what it can: the session request, and no prompt."""
    thief = Thief(host.enclave)
    with host.connect() as connection:
        assert ask(connection) == ANSWER
    (_, session_request), (_, prompt) = host.posts
    assert decode_request(thief.open(session_request)).fresh
    with pytest.raises(hpke.OpenError):
        thief.open(prompt)


def spoiled_answers() -> list[tuple[str, Callable[[Host, Outer], Outer], type[AnswerError] | None]]:
    """What a host makes of a good answer, and the error; None where the host speaks in its own name."""

    def without_final(_: Host, good: Outer) -> Outer:
        return replace(good, body=good.body[: chunk_borders(good.body, RESPONSE_NONCE_BYTES)[-2]])

    def swapped(_: Host, good: Outer) -> Outer:
        borders = chunk_borders(good.body, RESPONSE_NONCE_BYTES)
        first, second = good.body[borders[1] : borders[2]], good.body[borders[2] : borders[3]]
        return replace(good, body=good.body[: borders[1]] + second + first + good.body[borders[3] :])

    def changed(change: Callable[[bytes], bytes]) -> Callable[[Host, Outer], Outer]:
        return lambda _, good: replace(good, body=change(good.body))

    plain = PIECES[0] + b"data: [DONE]\n\n"
    return [
        ("nonce-stripped", changed(lambda body: body[RESPONSE_NONCE_BYTES:]), AnswerError),
        ("nonce-flipped", changed(lambda body: _flipped(body, 0)), TamperedResponse),
        ("chunks-swapped", swapped, TamperedResponse),
        ("final-missing-after-complete-message", without_final, TruncatedResponse),
        ("bytes-after-final", changed(lambda body: body + b"\0"), TamperedResponse),
        ("empty", changed(lambda _: b""), TruncatedResponse),
        ("cut-connection", lambda _, good: replace(good, body=good.body[:-1], cut=True), TruncatedResponse),
        ("plaintext", lambda _, __: Outer(200, "text/event-stream", plain), TamperedResponse),
        (
            "plaintext-called-ciphertext",
            lambda _, __: Outer(200, ohttp.CHUNKED_RESPONSE, plain * 20),
            AnswerError,
        ),
        ("status-500-around-a-good-answer", lambda _, good: replace(good, status=500), None),
        ("status-200-around-a-problem", lambda _, __: Outer(200, PROBLEM, b"{}"), TamperedResponse),
        ("whole-form", lambda _, good: replace(good, content_type=ohttp.RESPONSE), TamperedResponse),
    ]


@pytest.mark.parametrize(
    ("spoil", "error"), [pytest.param(way, error, id=name) for name, way, error in spoiled_answers()]
)
def test_26_the_answer_is_spoiled(
    host: Host, spoil: Callable[[Host, Outer], Outer], error: type[AnswerError] | None
) -> None:
    with host.connect() as connection:
        connection.open()
        host.deliver = lambda path, kind, body: spoil(host, host.honestly(path, kind, body))
        received: list[str] = []
        with pytest.raises(error or RefusedByHostError) as raised:
            received.extend(connection.chat("model", QUESTION))
        if isinstance(raised.value, AnswerError):
            assert ANSWER.startswith(raised.value.partial)
        host.deliver = host.honestly
        assert ask(connection) == ANSWER


def always(outer: Outer) -> Callable[[str, str, bytes], Outer]:
    """A host that delivers nothing, and has one answer to everything."""
    return lambda _path, _kind, _body: outer


def test_26_an_answer_of_another_exchange_or_an_older_one(host: Host) -> None:
    answers: list[Outer] = []

    def recording(path: str, kind: str, body: bytes) -> Outer:
        answers.append(host.honestly(path, kind, body))
        return answers[-1]

    with host.connect() as connection, host.connect() as other:
        connection.open()
        other.open()
        host.deliver = recording
        assert ask(connection) == ask(other) == ANSWER
        for older in list(answers):
            host.deliver = always(older)
            with pytest.raises(TamperedResponse):
                ask(connection)


def test_26_partial_text_is_marked_as_such(host: Host) -> None:
    with host.connect() as connection:
        connection.open()
        good = host.honestly

        def cut(path: str, kind: str, body: bytes) -> Outer:
            whole_answer = good(path, kind, body)
            borders = chunk_borders(whole_answer.body, RESPONSE_NONCE_BYTES)
            return replace(whole_answer, body=whole_answer.body[: borders[3]])

        host.deliver = cut
        received: list[str] = []
        with pytest.raises(TruncatedResponse) as raised:
            received.extend(connection.chat("model", QUESTION))
        assert raised.value.partial == "".join(TEXTS[:2])
        assert "".join(received) in ANSWER
        assert TEXTS[0] not in repr(raised.value)


@pytest.mark.parametrize("status", [415, 400, 404, 405, 413, 500, 503])
def test_27_the_host_says_that_the_format_is_not_supported(host: Host, status: int) -> None:
    with host.connect() as connection:
        connection.open()
        kinds: list[str] = []

        def refuse(_path: str, kind: str, _body: bytes) -> Outer:
            kinds.append(kind)
            return Outer(status, PROBLEM, b'{"title":"unsupported media type"}')

        host.deliver = refuse
        with pytest.raises(RefusedByHostError):
            ask(connection)
        assert kinds == [ohttp.CHUNKED_REQUEST]


def test_27_the_key_is_said_to_be_unknown_for_ever(host: Host) -> None:
    unknown = Outer(422, PROBLEM, b"{}")
    documents = 0

    def document() -> Outer:
        nonlocal documents
        documents += 1
        return host.enclave.get()

    with host.connect() as connection:
        connection.open()
        host.posts.clear()
        host.document = document
        host.deliver = lambda path, kind, body: (
            unknown if path.startswith(GATEWAY_PREFIX) else host.honestly(path, kind, body)
        )
        with pytest.raises(RefusedByHostError):
            ask(connection)
        assert [path == GATEWAY_PATH for path, _ in host.posts] == [False, True, False]
        assert documents == 1
        host.posts.clear()
        host.deliver = lambda _path, _kind, _body: unknown
        with pytest.raises(RefusedByHostError):
            ask(connection)
        assert {path for path, _ in host.posts} == {GATEWAY_PATH}
        assert len(host.posts) <= 2
        assert documents == 2
    assert host.enclave.calls == []


def test_27_a_signed_list_without_the_hybrid_key(host: Host) -> None:
    it = host.enclave
    classical = ohttp.encode_key_list(ohttp.decode_key_list(it.evidence.keys)[1:])
    it.evidence = hardware.evidence(it.guest, keys=classical, claims=it.claims)
    with host.connect() as connection:
        with pytest.raises(NoSuitableKeyError):
            ask(connection)
        assert host.posts == []


def test_28_two_threads_try_one_one_time_key(host: Host) -> None:
    with host.connect(keys=1) as connection:
        session = connection.open()
        for _ in range(50):
            taken, barrier = list[OneTimeKey](), threading.Barrier(2)

            def take(taken: list[OneTimeKey] = taken, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                try:
                    taken.append(session.take(0.0))
                except NoKeyError:
                    return

            threads = [threading.Thread(target=take) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            (key,) = taken
            session.add(key.spend())


def test_28_a_one_time_key_that_is_used_twice(host: Host) -> None:
    with host.connect() as connection:
        key = connection.open().take(0.0)
        Exchange(key, "GET", "/v1/models", content=b"", content_type="")
        with pytest.raises(RuntimeError, match="one request"):
            Exchange(key, "GET", "/v1/models", content=b"", content_type="")


def test_31_the_key_is_said_to_be_unknown_after_the_request_was_delivered(host: Host) -> None:
    with host.connect() as connection:
        connection.open()
        forged: list[str] = []

        def forge_once(path: str, kind: str, body: bytes) -> Outer:
            delivered = host.honestly(path, kind, body)
            if path.startswith(GATEWAY_PREFIX) and not forged:
                forged.append(path)
                return Outer(422, PROBLEM, b"{}")
            return delivered

        host.deliver = forge_once
        with pytest.raises(ApiError) as raised:
            ask(connection)
        assert raised.value.status == 409
        assert len(forged) == 1
        assert len(host.enclave.calls) == 1
        assert ask(connection) == ANSWER


@pytest.mark.parametrize("afterwards", [None, 422])
def test_31_the_host_says_that_it_is_busy_after_the_request_was_delivered(
    host: Host, afterwards: int | None
) -> None:
    """The client sends the same bytes again, which open nothing; sealed anew they have the same name."""
    with host.connect() as connection:
        connection.open()
        bodies: list[bytes] = []

        def deny(path: str, kind: str, body: bytes) -> Outer:
            delivered = host.honestly(path, kind, body)
            if not path.startswith(GATEWAY_PREFIX):
                return delivered
            bodies.append(body)
            if len(bodies) == 1:
                return Outer(503, PROBLEM, b"{}", retry_after="0")
            return Outer(afterwards, PROBLEM, b"{}") if afterwards and len(bodies) == 2 else delivered

        host.deliver = deny
        with pytest.raises(ApiError if afterwards else RefusedByHostError):
            ask(connection)
        assert bodies[0] == bodies[1]
        assert len(bodies) == (3 if afterwards else 2)
        assert len(host.enclave.calls) == 1
        assert ask(connection) == ANSWER


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_32_bytes_are_split_and_joined_anywhere(host: Host, size: int) -> None:
    host.split = lambda body: [body[start : start + size] for start in range(0, len(body), size)]
    with host.connect() as connection:
        assert ask(connection) == ANSWER


def cut_at(border: int) -> Callable[[bytes], list[bytes]]:
    """Two pieces."""
    return lambda body: [body[:border], body[border:]]


def test_32_every_boundary_of_request_and_answer(host: Host) -> None:
    with host.connect() as connection:
        connection.open()
        for border in range(0, 2400, 7):
            host.split = cut_at(border)
            assert ask(connection) == ANSWER


def test_32_requests_are_delivered_to_the_session_of_another_client(host: Host) -> None:
    with host.connect() as connection, host.connect() as other:
        own, foreign = connection.open().identifier.path, other.open().identifier.path
        before = len(host.enclave.calls)
        host.deliver = lambda path, kind, body: host.honestly(foreign if path == own else path, kind, body)
        with pytest.raises(RefusedByHostError):
            ask(connection)
        assert len(host.enclave.calls) == before
        host.deliver = host.honestly
        assert ask(connection) == ask(other) == ANSWER
