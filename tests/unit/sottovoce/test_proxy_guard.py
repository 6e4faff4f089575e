# SPDX-License-Identifier: Apache-2.0
"""Who may use the local endpoint, and what becomes of answers that break, without sockets."""

import asyncio
import warnings
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Scope

from sottovoce.files import UsageError
from sottovoce.memory import ReleaseWarning
from sottovoce.proxy_application import application
from sottovoce.proxy_guard import Rules, is_local_name
from sottovoce.proxy_settings import Listen, check_exposure, parse_listen, read_token
from sottovoce.transport import Connection
from tests.fakes import hardware
from tests.fakes.courier import chunk_borders
from tests.fakes.relay import TEXTS, Enclave, Host, Outer, guest
from wire.session import GATEWAY_PREFIX

MACHINE = guest()
OWN = "http://127.0.0.1:8642"
CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
ASKED = b'{"stream":true}'


@pytest.fixture
def host() -> Host:
    """An honest host in front of a new enclave."""
    return Host(Enclave(MACHINE))


@pytest.fixture
def connection(host: Host) -> Generator[Connection]:
    """A connection whose only network is that host."""
    with host.connect() as connected:
        yield connected


def send(
    connection: Connection,
    method: str,
    path: str,
    headers: dict[str, str],
    *,
    rules: Rules | None = None,
    content: bytes = b"",
) -> httpx.Response:
    """One request to the application, as a server would hand it over."""

    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(application(connection, rules or Rules()))
        async with httpx.AsyncClient(transport=transport, base_url=OWN) as client:
            return await client.request(method, path, headers=headers, content=content)

    return asyncio.run(sent())


def ask(connection: Connection, rules: Rules | None = None, /, **headers: str) -> httpx.Response:
    """A streamed question, with further headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return send(connection, "POST", CHAT, JSON | named, rules=rules, content=ASKED)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8642", "127.0.0.1", "127.0.0.1:8642", "[::1]:8642", "[::1]", "192.0.2.7:1"],
)
def test_this_machine_and_addresses_are_local_names(host: str) -> None:
    assert is_local_name(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":",
        "evil.example",
        "evil.example:8642",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "[::1",
        "localhost:8642.evil.example",
        "127.0.0.1@evil.example",
        "[localhost]:1x",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert not is_local_name(host)


def test_a_name_that_dns_leads_here_reaches_nothing(host: Host, connection: Connection) -> None:
    for path in ("/", "/status", "/v1/models"):
        answer = send(connection, "GET", path, {"host": "evil.example:8642"})
        assert answer.status_code == 421
        assert "access-control-allow-origin" not in answer.headers
    assert host.posts == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_pages_of_other_origins_send_nothing(
    host: Host, connection: Connection, headers: dict[str, str]
) -> None:
    answer = ask(connection, **headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert host.posts == []


def test_a_page_cannot_ask_for_another_verification(connection: Connection) -> None:
    assert send(connection, "POST", "/verify", {"origin": "https://evil.example"}).status_code == 403
    assert send(connection, "POST", "/verify", {"origin": OWN}).status_code == 303


def test_an_origin_that_was_allowed_is_answered_and_no_other(connection: Connection) -> None:
    rules = Rules(origins=frozenset({"https://tool.example"}))
    preflight = {"origin": "https://tool.example", "access-control-request-method": "POST"}
    allowed = send(connection, "OPTIONS", CHAT, preflight, rules=rules)
    assert allowed.headers["access-control-allow-origin"] == "https://tool.example"
    asked = ask(connection, rules, origin="https://tool.example", sec_fetch_site="cross-site")
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://tool.example"
    assert ask(connection, rules, origin="https://evil.example").status_code == 403
    assert send(connection, "OPTIONS", CHAT, preflight).status_code == 403


def test_the_token_opens_and_stays_here_while_other_keys_go_inside(
    host: Host, connection: Connection
) -> None:
    rules = Rules(token="a-token-of-this-machine")
    assert ask(connection, rules).status_code == 401
    assert ask(connection, rules, authorization="Bearer another").status_code == 401
    assert ask(connection, rules, authorization="Basic a-token-of-this-machine").status_code == 401
    assert host.posts == []
    assert ask(connection, rules, authorization="Bearer a-token-of-this-machine").status_code == 200
    assert ask(connection, authorization="Bearer an-account").status_code == 200
    first, second = host.enclave.calls
    assert "authorization" not in first.fields
    assert second.fields["authorization"] == "Bearer an-account"


def test_answers_come_whole_and_nothing_is_kept(connection: Connection) -> None:
    answer = ask(connection)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert [text for text in TEXTS if text not in answer.text] == []


def test_a_cut_answer_ends_with_an_error_and_a_broken_connection(host: Host, connection: Connection) -> None:
    def cut(path: str, kind: str, body: bytes) -> Outer:
        answer = host.honestly(path, kind, body)
        if not path.startswith(GATEWAY_PREFIX):
            return answer
        return Outer(200, answer.content_type, answer.body[: chunk_borders(answer.body, 32)[3]])

    host.deliver = cut
    sent: list[bytes] = []

    async def served() -> None:
        messages: list[Message] = [{"type": "http.request", "body": ASKED, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            return await asyncio.Future[Message]()

        async def note(message: Message) -> None:
            sent.append(bytes(message.get("body", b"")))

        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        }
        await application(connection, Rules())(scope, receive, note)

    with pytest.raises(Exception, match="cut"):
        asyncio.run(served())
    assert b"must not be used" in sent[-1]
    assert b"[DONE]" not in b"".join(sent)


def test_a_refused_enclave_is_told_and_is_not_tried_again(host: Host, connection: Connection) -> None:
    host.enclave.evidence_for = lambda _: host.enclave.evidence
    for _ in range(2):
        answer = ask(connection)
        assert answer.status_code == 502
        assert answer.headers["x-should-retry"] == "false"
        assert answer.json()["error"]["code"] == "enclave_refused"
    page = send(connection, "GET", "/", {})
    assert "NOT VERIFIED" in page.text
    status = send(connection, "GET", "/status", {}).json()
    assert status["verified"] is False or status["assurance"] is None
    assert len(host.posts) == 1


def test_verify_again_looks_at_what_is_there_now(host: Host, connection: Connection) -> None:
    own = {"origin": OWN}
    assert "<title>VERIFIED" in send(connection, "GET", "/", {}).text
    honest = host.enclave.evidence_for
    host.enclave.evidence_for = lambda _: host.enclave.evidence
    assert "<title>VERIFIED" in send(connection, "GET", "/", {}).text  # of the session, which is still good
    send(connection, "POST", "/verify", own)
    refused = send(connection, "GET", "/", {}).text
    assert "<title>NOT VERIFIED" in refused
    assert refused.index("FAIL") < refused.index(">pass<")  # what failed comes first
    assert ask(connection).json()["error"]["code"] == "enclave_refused"
    host.enclave.evidence_for = honest
    assert ask(connection).status_code == 502  # nobody asked for another look
    send(connection, "POST", "/verify", own)
    assert ask(connection).status_code == 200


def test_what_is_new_is_on_the_page_and_in_the_status(host: Host, connection: Connection) -> None:
    status = send(connection, "GET", "/status", {}).json()
    assert [(notice["kind"]) for notice in status["notices"]] == ["first seen"]
    page = send(connection, "GET", "/", {}).text
    assert "this address is new to you" in page
    assert "WARNING" not in page
    claims = replace(host.enclave.claims, release=bytes([1]) * 32)
    host.enclave.claims = claims
    host.enclave.evidence = hardware.evidence(MACHINE, keys=host.enclave.epoch.key_list, claims=claims)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReleaseWarning)
        send(connection, "POST", "/verify", {"origin": OWN})
    status = send(connection, "GET", "/status", {}).json()
    assert status["verified"] is True
    assert [notice["kind"] for notice in status["notices"]] == ["first seen", "changed"]
    assert "WARNING, changed: changed since last time: release" in send(connection, "GET", "/", {}).text


def test_a_listening_address_is_read() -> None:
    assert parse_listen("localhost:1").url == "http://127.0.0.1:1"
    assert parse_listen("[::1]:8642").url == "http://[::1]:8642"
    for wrong in ("", "8642", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "host.example:1"):
        with pytest.raises(UsageError):
            parse_listen(wrong)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"])
def test_exposure_needs_both_words(address: str) -> None:
    listen: Listen = parse_listen(address)
    token = Rules(token="a-token-of-this-machine")
    for rules, allowed in ((token, False), (Rules(), True)):
        with pytest.raises(UsageError):
            check_exposure(listen, rules, allowed=allowed)
    check_exposure(listen, token, allowed=True)
    check_exposure(parse_listen("127.0.0.2:1"), Rules(), allowed=False)


def test_a_token_file_is_made_once_and_read_again(tmp_path: Path) -> None:
    made = read_token(tmp_path / "token")
    assert read_token(tmp_path / "token") == made
    assert len(made) >= 43
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(UsageError):
        read_token(tmp_path / "short")
    with pytest.raises(UsageError):
        read_token(tmp_path / "missing" / "token")
