# SPDX-License-Identifier: Apache-2.0
"""The HTTP side of the host, over real connections, with an enclave that the test plays."""

import base64
import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from host import relay
from tests.unit.host.support import FakeEnclave, client, problem
from wire import frames

KEYS, EVIDENCE = "/.well-known/ohttp-gateway", "/.well-known/attested-ohttp"
SEALED_REQUEST, SEALED_ANSWER = "message/ohttp-chunked-req", "message/ohttp-chunked-res"
# Socket buffers of both connections, and the high-water marks of asyncio and uvicorn, with room to spare.
MOST_IN_FLIGHT_BYTES = 24 << 20
STALLED_SECONDS = 0.5


def evidence(expires_at: float) -> bytes:
    claims = base64.b64encode(json.dumps({"exp": int(expires_at)}).encode()).decode()
    return json.dumps({"claims": claims}).encode()


def begin_upload(connection: http.client.HTTPConnection, path: str = KEYS) -> None:
    connection.putrequest("POST", path)
    connection.putheader("content-type", SEALED_REQUEST)
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()


def send_chunk(connection: http.client.HTTPConnection, data: bytes) -> None:
    connection.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def send_until_stalled(connection: socket.socket, piece: bytes) -> int:
    """How many bytes go out before the other end takes no more, or closes."""
    sent = 0
    with suppress(BrokenPipeError):
        while sent <= MOST_IN_FLIGHT_BYTES and select.select([], [connection], [], STALLED_SECONDS)[1]:
            sent += connection.send(piece, socket.MSG_DONTWAIT)
    return sent


@pytest.mark.parametrize(
    ("path", "content_type"), [(KEYS, "application/ohttp-keys"), (EVIDENCE, "application/json")]
)
def test_public_documents_are_passed_through(
    port: int, enclave: FakeEnclave, path: str, content_type: str
) -> None:
    with client(port) as connection:
        connection.request("GET", path)
        with enclave.accept() as exchange:
            assert exchange.head() == frames.RequestHead("GET", path, "")
            assert exchange.body() == b""
            exchange.answer(200, content_type, bytes(range(256)))
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("content-type") == content_type
        assert response.getheader("cache-control") == "no-store"
        assert response.read() == bytes(range(256))


@pytest.mark.parametrize("path", [KEYS, "/ohttp", f"{KEYS}/s/AAAAAAAAAAAAAAAAAAAAAA"])
def test_a_sealed_request_arrives_as_it_was_sent(port: int, enclave: FakeEnclave, path: str) -> None:
    sealed = bytes(range(256)) * 1000
    with client(port) as connection:
        connection.request("POST", path, sealed, {"content-type": SEALED_REQUEST})
        with enclave.accept() as exchange:
            assert exchange.head() == frames.RequestHead("POST", path, SEALED_REQUEST)
            assert exchange.body() == sealed
            exchange.answer(200, SEALED_ANSWER, b"sealed answer")
        response = connection.getresponse()
        assert response.read() == b"sealed answer"
        assert response.getheader("incremental") == "?1"


def test_an_answer_of_the_enclave_keeps_its_status(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("POST", KEYS, b"x", {"content-type": SEALED_REQUEST})
        with enclave.accept() as exchange:
            exchange.body()
            exchange.answer(422, "application/problem+json", b"{}")
        response = connection.getresponse()
        assert (response.status, response.read()) == (422, b"{}")


def test_queries_stay_behind(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("GET", f"{EVIDENCE}?who=me")
        with enclave.accept() as exchange:
            assert exchange.head().path == EVIDENCE
            exchange.answer(200, "a/b")
        assert connection.getresponse().read() == b""


def test_both_directions_flow_piece_by_piece(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        begin_upload(connection)
        with enclave.accept() as exchange:
            exchange.head()
            send_chunk(connection, b"one")
            assert exchange.body(3) == b"one"
            exchange.answer(200, SEALED_ANSWER, b"first")
            response = connection.getresponse()
            assert response.read1() == b"first"
            send_chunk(connection, b"two")
            assert exchange.body(3) == b"two"
            connection.send(b"0\r\n\r\n")
            assert exchange.body() == b""
            exchange.connection.sendall(b"second")
            assert response.read1() == b"second"
            exchange.end()
            assert response.read() == b""


def test_an_answer_head_may_come_byte_by_byte(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("GET", KEYS)
        with enclave.accept() as exchange:
            exchange.body()
            for octet in frames.encode_answer_head(frames.AnswerHead(200, "a/b")) + b"body":
                exchange.connection.sendall(bytes([octet]))
        response = connection.getresponse()
        assert (response.getheader("content-type"), response.read()) == ("a/b", b"body")


def test_a_client_that_does_not_read_stalls_the_enclave(port: int, enclave: FakeEnclave) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.settimeout(10)
        slow.connect(("127.0.0.1", port))
        slow.sendall(f"GET {KEYS} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
        with enclave.accept() as exchange:
            exchange.answer(200, SEALED_ANSWER)
            sent = send_until_stalled(exchange.connection, bytes(1 << 16))
            assert 0 < sent < MOST_IN_FLIGHT_BYTES
            received = 0
            while received < sent:
                received += len(slow.recv(1 << 20))
            assert select.select([], [exchange.connection], [], 5)[1]


def test_an_enclave_that_does_not_read_stalls_the_client(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        begin_upload(connection)
        with enclave.accept() as exchange:
            exchange.head()
            connection.send(f"{MOST_IN_FLIGHT_BYTES * 2:x}\r\n".encode())
            assert isinstance(connection.sock, socket.socket)
            sent = send_until_stalled(connection.sock, bytes(1 << 16))
            assert 0 < sent < MOST_IN_FLIGHT_BYTES
            assert len(exchange.body(sent)) == sent


def test_without_an_enclave_the_client_is_told_to_try_again(port: int) -> None:
    with client(port) as connection:
        connection.request("GET", KEYS)
        response = connection.getresponse()
        assert response.status == 503
        assert response.getheader("retry-after") == "2"
        assert problem(response)["title"] == "the enclave does not answer"


def test_a_request_with_a_body_is_answered_without_an_enclave_too(port: int) -> None:
    with client(port) as connection:
        connection.request("POST", "/ohttp", bytes(1000), {"content-type": SEALED_REQUEST})
        response = connection.getresponse()
        assert response.status == 503
        assert problem(response)["detail"] == "it may be starting; try again in a moment"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0",
        b"\0\xc8\0\x10too short",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x00\x64\0\0",
        b"\0\xc8\0\x03a\nb",
        b"\xff" * 300,
    ],
)
def test_an_enclave_that_answers_nonsense_is_a_broken_link(
    port: int, enclave: FakeEnclave, answer: bytes
) -> None:
    with client(port) as connection:
        connection.request("POST", KEYS, b"sealed", {"content-type": SEALED_REQUEST})
        with enclave.accept() as exchange:
            exchange.body()
            exchange.connection.sendall(answer)
        response = connection.getresponse()
        assert response.status == 502
        assert problem(response)["title"] == "the enclave ended the exchange"


def test_an_answer_that_breaks_off_is_not_complete(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("POST", KEYS, bytes(1 << 16), {"content-type": SEALED_REQUEST})
        with enclave.accept() as exchange:
            exchange.answer(200, SEALED_ANSWER, b"begun")
            response = connection.getresponse()
            assert response.read1() == b"begun"
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_a_body_of_the_limit_passes(port: int, enclave: FakeEnclave, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_BODY_BYTES", 1000)
    with client(port) as connection:
        connection.request("POST", KEYS, bytes(1000), {"content-type": SEALED_REQUEST})
        with enclave.accept() as exchange:
            exchange.head()
            assert exchange.body() == bytes(1000)
            exchange.answer(200, SEALED_ANSWER)
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("pieces", [(1001,), (600, 401)])
def test_a_body_above_the_limit_is_refused(
    port: int, enclave: FakeEnclave, monkeypatch: pytest.MonkeyPatch, pieces: tuple[int, ...]
) -> None:
    def body() -> Iterator[bytes]:
        yield from map(bytes, pieces)

    monkeypatch.setattr(relay, "MAX_BODY_BYTES", 1000)
    with client(port) as connection:
        connection.request("POST", KEYS, body(), {"content-type": SEALED_REQUEST}, encode_chunked=True)
        with enclave.accept() as exchange:
            assert exchange.is_closed_within(5)
        response = connection.getresponse()
        assert response.status == 413
        assert problem(response)["detail"] == "send at most 32 MiB"


def test_the_limit_is_what_the_refusal_says() -> None:
    assert relay.MAX_BODY_BYTES == 32 << 20


def test_a_client_that_goes_away_while_it_waits_ends_the_exchange(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("POST", KEYS, b"sealed", {"content-type": SEALED_REQUEST})
        exchange = enclave.accept()
        exchange.body()
    with exchange:
        assert exchange.is_closed_within(3)


def test_a_client_that_goes_away_while_it_is_answered_ends_the_exchange(
    port: int, enclave: FakeEnclave
) -> None:
    with client(port) as connection:
        connection.request("POST", KEYS, b"sealed", {"content-type": SEALED_REQUEST})
        exchange = enclave.accept()
        exchange.body()
        exchange.answer(200, SEALED_ANSWER, b"begun")
        response = connection.getresponse()
        assert response.read1() == b"begun"
        response.close()
    with exchange:
        assert exchange.is_closed_within(3)


@pytest.mark.parametrize("content_type", [b"caf\xe9/x", b"a/" + b"b" * 5000])
def test_a_content_type_that_does_not_fit_the_link_is_refused(port: int, content_type: bytes) -> None:
    with client(port) as connection:
        connection.putrequest("POST", KEYS)
        connection.putheader("content-type", content_type)
        connection.putheader("content-length", "0")
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 400
        assert problem(response)["title"] == "the content type cannot be passed on"


def test_the_operator_sees_a_healthy_enclave(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("GET", "/healthz")
        with enclave.accept() as exchange:
            assert exchange.head() == frames.RequestHead("GET", EVIDENCE, "")
            document = evidence(time.time() + 600)
            exchange.answer(200, "application/json", document[:10])
            exchange.connection.sendall(document[10:])
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (200, evidence(time.time() - 1)),
        (200, b"no evidence"),
        (200, b"[" * 60_000),
        (200, b""),
        (503, evidence(time.time() + 86_400)),
    ],
    ids=["expired", "no JSON", "too deep", "nothing", "not available"],
)
def test_the_operator_sees_an_enclave_that_cannot_prove_itself(
    port: int, enclave: FakeEnclave, status: int, document: bytes
) -> None:
    with client(port) as connection:
        connection.request("GET", "/healthz")
        with enclave.accept() as exchange:
            exchange.body()
            exchange.answer(status, "application/json", document)
            exchange.end()
            response = connection.getresponse()
        assert response.status == 503
        assert response.getheader("retry-after") == "2"
        assert problem(response)["title"] == "the enclave has no valid evidence"


def test_the_operator_is_told_without_reading_evidence_that_does_not_end(
    port: int, enclave: FakeEnclave
) -> None:
    with client(port) as connection:
        connection.request("GET", "/healthz")
        with enclave.accept() as exchange:
            exchange.answer(200, "application/json")
            assert send_until_stalled(exchange.connection, b"{" * (1 << 16)) < MOST_IN_FLIGHT_BYTES
            assert exchange.is_closed_within(5)
        assert problem(connection.getresponse())["title"] == "the enclave has no valid evidence"


def test_the_operator_sees_that_there_is_no_enclave(port: int) -> None:
    with client(port) as connection:
        connection.request("GET", "/healthz")
        assert problem(connection.getresponse())["status"] == 503


def test_the_operator_sees_an_enclave_that_ends_at_once(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("GET", "/healthz")
        enclave.accept().connection.close()
        assert problem(connection.getresponse())["status"] == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/models", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/.well-known/attested-ohttp/", 404),
        ("GET", "/healthz/", 404),
        ("GET", "/ohttp", 405),
        ("PUT", KEYS, 405),
        ("POST", EVIDENCE, 405),
        ("POST", "/healthz", 405),
    ],
)
def test_other_paths_and_methods_never_reach_the_enclave(
    port: int, enclave: FakeEnclave, method: str, path: str, status: int
) -> None:
    with client(port) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        assert problem(response)["status"] == status
        assert response.getheader("server") is None
        connection.request("GET", EVIDENCE)
        with enclave.accept() as exchange:
            assert exchange.head().method == "GET"
            exchange.answer(200, "a/b", b"the first to arrive")
        assert connection.getresponse().read() == b"the first to arrive"


def test_answers_say_nothing_about_the_software(port: int, enclave: FakeEnclave) -> None:
    with client(port) as connection:
        connection.request("GET", KEYS)
        with enclave.accept() as exchange:
            exchange.body()
            exchange.answer(200, "a/b", b"x")
        response = connection.getresponse()
        names = {name.lower() for name, _ in response.getheaders()}
        assert names == {"date", "content-type", "cache-control", "transfer-encoding"}
