# SPDX-License-Identifier: Apache-2.0
"""API keys: two of them are two people to the enclave, in whatever session, and nobody else sees them."""

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

import sottovoce
from sottovoce.session import Head
from tests.conftest import Pair
from tests.e2e.proxies import running_proxy
from tests.e2e.test_answers import MODEL
from tests.e2e.test_commands import run

CHAT = "/v1/chat/completions"
TAKEN = 409


@pytest.fixture
def keys(pair: Pair) -> Iterator[tuple[str, str]]:
    """Two API keys, of which nothing may be seen on either side of the host."""
    both = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    places = [
        (side, len(side)) for tap in (pair.outside, pair.inside) for side in (tap.forward, tap.backward)
    ]
    yield both
    seen = b"".join(piece for side, start in places for piece in side[start:])
    assert len(seen) > 1000
    assert b"authorization" not in seen.lower()
    for key in both:
        assert key.encode() not in seen
        assert base64.b64encode(key.encode())[:-4] not in seen


def status(connection: sottovoce.Connection, name: str, *fields: tuple[str, str]) -> int:
    """What becomes of a request of this name."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    named = (("idempotency-key", name), *fields)
    events = list(connection.stream("POST", CHAT, json.dumps(body).encode(), fields=named))
    head = events[0]
    assert isinstance(head, Head)
    return head.status


def test_a_key_is_the_same_person_in_every_session(pair: Pair, keys: tuple[str, str]) -> None:
    """The names of requests are somebody's own: a second request of a name is refused to the same person."""
    name = secrets.token_hex(8)
    for api_key, expected in ((keys[0], 200), (keys[0], TAKEN), (keys[1], 200), (None, 200), (None, 200)):
        with sottovoce.connect(pair.url, pair.place.policy, api_key=api_key) as connection:
            assert status(connection, name) == expected
            if api_key is None:
                assert status(connection, name) == TAKEN
    with sottovoce.connect(pair.url, pair.place.policy, api_key=keys[1]) as connection:
        others = ("authorization", f"Bearer {keys[0]}")
        assert status(connection, secrets.token_hex(8), others) == 200
        assert status(connection, name, others) == TAKEN  # the connection's own key is in its place


def test_a_placeholder_is_nobody(pair: Pair) -> None:
    name = secrets.token_hex(8)
    for _ in range(2):
        with sottovoce.connect(pair.url, pair.place.policy) as connection:
            assert status(connection, name, ("authorization", "Bearer -")) == 200


def test_the_key_of_a_program_goes_through_the_proxy(
    pair: Pair, keys: tuple[str, str], tmp_path: Path
) -> None:
    """Without a key of its own the proxy passes the program's on; with one, it is that."""
    own = tmp_path / "key"
    own.write_text(keys[1] + "\n", encoding="ascii")
    name = secrets.token_hex(8)

    def ask(url: str, api_key: str) -> str:
        with openai.OpenAI(base_url=url, api_key=api_key, max_retries=0) as program:
            try:
                program.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": "Hello"}],
                    max_tokens=1,
                    extra_headers={"idempotency-key": name},
                )
            except openai.ConflictError:
                return "taken"
        return "done"

    with running_proxy(pair.place, tmp_path) as proxy:
        assert [ask(proxy.api, keys[0]), ask(proxy.api, keys[0])] == ["done", "taken"]
    options = ("--api-key", str(own), "--token", str(tmp_path / "token"))
    with running_proxy(pair.place, tmp_path, *options) as proxy:
        token = (tmp_path / "token").read_text(encoding="ascii").strip()
        assert [ask(proxy.api, token), ask(proxy.api, token)] == ["done", "taken"]
    with sottovoce.connect(pair.url, pair.place.policy, api_key=keys[1]) as connection:
        assert status(connection, name) == TAKEN


def test_the_command_takes_a_key_from_a_file(pair: Pair, keys: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "key"
    ask = (
        "ask",
        pair.url,
        "--policy",
        str(pair.place.policy),
        "--max-tokens",
        "1",
        "--api-key",
        str(file),
        "Hi",
    )
    for wrong in ("", "-", keys[0][:21], f"{keys[0]} {keys[1]}", "\u00fc" * 30):
        file.write_text(wrong, encoding="utf-8")
        assert run(*ask).returncode == 2
    file.unlink()
    assert run(*ask).returncode == 2
    file.write_text(keys[0] + "\n", encoding="ascii")
    assert run(*ask).returncode == 0
