# SPDX-License-Identifier: Apache-2.0
"""A hostile host in front of a real enclave: real programs, real traffic."""

import base64
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from typing_extensions import override

from attestation.evidence import decode_evidence
from attestation.verify import Untrusted, VerificationError, WrongAudience
from enclave.session import OuterAnswer
from sottovoce.session import AnswerError, TamperedResponse
from sottovoce.transport import EVIDENCE_PATH, GATEWAY_PATH, Connection, Turn
from sottovoce.trust import choose_policy
from tests.conftest import Pair
from tests.e2e.test_answers import MODEL, QUESTION
from wire import ohttp
from wire.session import GATEWAY_PREFIX


@contextmanager
def rogue_host(evidence: bytes, answer: bytes, content_type: str) -> Generator[str]:
    """A host that hands out this evidence, and answers every request with these bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send("application/json", evidence)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._send(content_type, answer)

        def _send(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def live_evidence(pair: Pair) -> bytes:
    """The evidence document as the host hands it out."""
    return httpx.get(pair.url + EVIDENCE_PATH, trust_env=False).content


def recorded_exchange(pair: Pair) -> tuple[str, bytes]:
    """Path and body of a real request, as the host saw them."""
    before = len(pair.inside.forward)
    with pair.connect() as connection:
        assert list(connection.chat(MODEL, QUESTION, max_tokens=3))
    recorded = b"".join(pair.inside.forward[before:])
    start = recorded.rindex(b'{"m":"POST"')
    end = recorded.index(b"}", start) + 1
    return json.loads(recorded[start:end])["p"], recorded[end:]


def recorded_request(pair: Pair) -> bytes:
    """The body alone."""
    return recorded_exchange(pair)[1]


def post(
    pair: Pair, body: bytes, content_type: str = ohttp.CHUNKED_REQUEST, path: str = GATEWAY_PATH
) -> httpx.Response:
    """Post to the gateway as anyone could."""
    return httpx.post(pair.url + path, content=body, headers={"content-type": content_type}, trust_env=False)


def test_host_replays_a_recorded_request(pair: Pair) -> None:
    path, body = recorded_exchange(pair)
    assert path.startswith(GATEWAY_PREFIX)
    answers = [post(pair, body, path=path) for _ in range(3)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(400, OuterAnswer.MALFORMED.body)}
    fixed = {(answer.status, answer.body) for answer in (OuterAnswer.MALFORMED, OuterAnswer.UNKNOWN_KEY)}
    assert (post(pair, body).status_code, post(pair, body).content) in fixed


def test_host_sends_garbage(pair: Pair) -> None:
    for body in (b"", b"\0" * 7, b"\xff" * 5000, recorded_request(pair)[:-30]):
        answer = post(pair, body)
        assert answer.status_code in (400, 422)
    assert post(pair, b"{}", "application/json").status_code == 415
    with pair.connect() as connection:
        assert connection.models() == [MODEL]


def test_host_answers_a_real_client_in_plaintext(pair: Pair) -> None:
    lie = b'data: {"choices":[{"delta":{"content":"trust me"}}]}\n\ndata: [DONE]\n\n'
    for content_type in ("text/event-stream", ohttp.CHUNKED_RESPONSE):
        with rogue_host(live_evidence(pair), lie, content_type) as url:
            policy = replace(
                choose_policy(url, file=pair.place.policy, simulated=True), audiences=frozenset({pair.url})
            )
            with Connection(url, policy) as connection, pytest.raises(AnswerError):
                list(connection.chat(MODEL, [Turn("user", "?")]))


def test_host_replays_a_recorded_answer(pair: Pair) -> None:
    before = len(pair.inside.backward)
    recorded_request(pair)
    recorded = b"".join(pair.inside.backward[before:])
    body = recorded[recorded.rindex(ohttp.CHUNKED_RESPONSE.encode()) + len(ohttp.CHUNKED_RESPONSE) :]
    with rogue_host(live_evidence(pair), body, ohttp.CHUNKED_RESPONSE) as url:
        policy = replace(
            choose_policy(url, file=pair.place.policy, simulated=True), audiences=frozenset({pair.url})
        )
        with Connection(url, policy) as connection, pytest.raises(TamperedResponse):
            list(connection.chat(MODEL, QUESTION, max_tokens=3))


def test_host_swaps_the_key_list_for_its_own(pair: Pair) -> None:
    document = json.loads(live_evidence(pair))
    keys = bytearray(base64.b64decode(document["keys"]))
    keys[100] ^= 1
    document["keys"] = base64.b64encode(keys).decode()
    with rogue_host(json.dumps(document).encode(), b"", "") as url:
        policy = replace(pair.policy, audiences=frozenset({pair.url}))
        with Connection(url, policy) as connection, pytest.raises(Untrusted) as refused:
            connection.verify()
    assert refused.value.verdict.failures[0].name == "report data binding"


def test_host_passes_on_the_evidence_of_another_origin(pair: Pair) -> None:
    with rogue_host(live_evidence(pair), b"", "") as url:
        policy = choose_policy(url, file=pair.place.policy, simulated=True)
        with Connection(url, policy) as connection, pytest.raises(WrongAudience):
            connection.verify()


def test_the_default_policy_refuses_a_simulated_enclave(pair: Pair) -> None:
    policy = choose_policy(pair.url, file=None, simulated=False)
    with Connection(pair.url, policy) as connection, pytest.raises(VerificationError) as refused:
        connection.verify()
    assert "trust anchor" in [check.name for check in refused.value.verdict.failures]
    assert not refused.value.verdict.verified


def test_what_the_host_hands_out_is_what_the_enclave_signed(pair: Pair) -> None:
    keys = httpx.get(pair.url + GATEWAY_PATH, trust_env=False)
    assert keys.headers["content-type"] == ohttp.KEYS
    assert keys.content == decode_evidence(live_evidence(pair)).keys
