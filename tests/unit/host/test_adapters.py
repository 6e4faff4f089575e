# SPDX-License-Identifier: Apache-2.0
"""What the host does for clients of other protocols, with an enclave that the test plays."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from host import ehbp, relay, tng
from tests.unit.host.support import FakeEnclave, client, problem, running_host
from wire import frames

SEALED_REQUEST, SEALED_ANSWER = "message/ohttp-chunked-req", "message/ohttp-chunked-res"
CHAT, EXPIRES = "/v1/chat/completions", 1_800_000_000


@pytest.fixture(scope="module")
def open_port(link: Path) -> Iterator[int]:
    """A host with every adapter."""
    with running_host(link, adapters=("tng", "ehbp")) as number:
        yield number


def test_the_key_list_in_the_form_of_tng(open_port: int, enclave: FakeEnclave) -> None:
    claims = base64.b64encode(json.dumps({"exp": EXPIRES}).encode()).decode()
    with client(open_port) as connection:
        connection.request("POST", "/", b"{}", {tng.API_FIELD: tng.Api.KEY_CONFIG.value})
        for path, document in (
            (relay.KEY_LIST_PATH, b"key list"),
            (relay.EVIDENCE_PATH, json.dumps({"claims": claims}).encode()),
        ):
            with enclave.accept() as exchange:
                assert exchange.head() == frames.RequestHead("GET", path, "")
                exchange.answer(200, "a/b", document)
        answered = json.loads(connection.getresponse().read())
    configuration = {"expire_timestamp": EXPIRES, "encoded_key_config_list": "a2V5IGxpc3Q="}
    assert answered == {"hpke_key_config": configuration, "attest_response": {"Ok": None}}


def test_without_keys_there_is_an_answer_of_the_host(open_port: int, enclave: FakeEnclave) -> None:
    with client(open_port) as connection:
        connection.request("POST", "/", b"{}", {tng.API_FIELD: tng.Api.KEY_CONFIG.value})
        with enclave.accept() as exchange:
            exchange.answer(503, "application/problem+json")
        assert problem(connection.getresponse())["status"] == 502


def test_metadata_of_tng_stays_behind(open_port: int, enclave: FakeEnclave) -> None:
    metadata = (5).to_bytes(4, "big") + b"12345"
    fields = {tng.API_FIELD: tng.Api.TUNNEL.value, "content-type": SEALED_REQUEST}
    with client(open_port) as connection:
        connection.request("POST", "/", metadata + b"sealed", fields)
        with enclave.accept() as exchange:
            assert exchange.head() == frames.RequestHead("POST", relay.KEY_LIST_PATH, SEALED_REQUEST)
            assert exchange.body() == b"sealed"
            exchange.answer(200, SEALED_ANSWER, b"answer")
        assert connection.getresponse().read() == b"answer"


@pytest.mark.parametrize("step", [1, 3, 4, 8, 100])
def test_metadata_is_taken_away_in_whatever_pieces_it_comes(step: int) -> None:
    tunnel, data = tng.Tunnel(), (3).to_bytes(4, "big") + b"abc" + b"the rest, and more"
    passed = b"".join(tunnel.upload(data[start : start + step]) for start in range(0, len(data), step))
    assert passed == b"the rest, and more"


def test_metadata_without_end_is_refused(open_port: int, enclave: FakeEnclave) -> None:
    fields = {tng.API_FIELD: tng.Api.TUNNEL.value, "content-type": SEALED_REQUEST}
    with client(open_port) as connection:
        connection.request("POST", "/", (tng.MAX_METADATA_BYTES + 1).to_bytes(4, "big"), fields)
        with enclave.accept():
            assert problem(connection.getresponse())["status"] == 400


def test_another_post_to_the_root_is_not_found(open_port: int) -> None:
    with client(open_port) as connection:
        connection.request("POST", "/", b"", {tng.API_FIELD: "/tng/other"})
        assert problem(connection.getresponse())["status"] == 404


def test_the_values_of_ehbp_change_places(open_port: int, enclave: FakeEnclave) -> None:
    key, nonce = bytes(range(32)), bytes(range(32, 64))
    fields = {ehbp.ENCAPSULATED_KEY_FIELD: key.hex(), "content-type": "a/b", "authorization": "Bearer x"}
    with client(open_port) as connection:
        connection.request("POST", CHAT, b"frames", fields)
        with enclave.accept() as exchange:
            assert exchange.head() == frames.RequestHead("POST", f"/ehbp{CHAT}", "a/b")
            assert exchange.body() == key + b"frames"
            exchange.answer(404, "application/json", nonce[:10])
            exchange.connection.sendall(nonce[10:] + b"sealed")
        response = connection.getresponse()
        assert (response.status, response.getheader("content-type")) == (404, "application/json")
        assert response.getheader(ehbp.NONCE_FIELD) == nonce.hex()
        assert response.read() == b"sealed"


def test_a_refusal_of_the_enclave_has_no_nonce(open_port: int, enclave: FakeEnclave) -> None:
    with client(open_port) as connection:
        connection.request("POST", CHAT, b"x", {ehbp.ENCAPSULATED_KEY_FIELD: "00" * 32})
        with enclave.accept() as exchange:
            exchange.body()
            exchange.answer(422, relay.PROBLEM_TYPE, b"{}")
        response = connection.getresponse()
        assert (response.status, response.getheader(ehbp.NONCE_FIELD)) == (422, None)
        assert response.read() == b"{}"


def test_an_answer_that_ends_within_its_nonce_is_a_broken_link(open_port: int, enclave: FakeEnclave) -> None:
    with client(open_port) as connection:
        connection.request("POST", CHAT, b"x", {ehbp.ENCAPSULATED_KEY_FIELD: "00" * 32})
        with enclave.accept() as exchange:
            exchange.body()
            exchange.answer(200, "a/b", bytes(31))
        assert problem(connection.getresponse())["status"] == 502


@pytest.mark.parametrize("value", ["", "00", "0" * 63 + "g", "00" * 33])
def test_a_key_that_is_none_never_reaches_the_enclave(open_port: int, value: str) -> None:
    with client(open_port) as connection:
        connection.request("POST", CHAT, b"x", {ehbp.ENCAPSULATED_KEY_FIELD: value})
        assert problem(connection.getresponse())["status"] == 400


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("POST", CHAT), ("GET", ehbp.KEYS_PATH)])
def test_without_adapters_none_of_this_is_there(port: int, method: str, path: str) -> None:
    with client(port) as connection:
        fields = {tng.API_FIELD: tng.Api.KEY_CONFIG.value, ehbp.ENCAPSULATED_KEY_FIELD: "00" * 32}
        connection.request(method, path, headers=fields)
        assert problem(connection.getresponse())["status"] == 404
