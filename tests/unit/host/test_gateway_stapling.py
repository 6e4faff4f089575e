# SPDX-License-Identifier: Apache-2.0
"""The HTTP side of a host that adds endorsements, with an enclave that the test plays."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from host.endorsement_settings import Settings
from tests.unit.host.support import FakeEnclave, client, problem, running_host

EVIDENCE = "/.well-known/attested-ohttp"


@pytest.fixture(scope="module")
def port(link: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A host whose bundle is empty, and that asks nobody else. Its first tries find no enclave."""
    with running_host(link, Settings(bundle=tmp_path_factory.mktemp("bundle"), offline=True)) as number:
        yield number


def test_without_an_enclave_the_host_says_so(port: int) -> None:
    with client(port) as connection:
        connection.request("GET", EVIDENCE)
        assert problem(connection.getresponse())["status"] == 503


def ask(port: int, enclave: FakeEnclave, status: int | None, body: bytes) -> tuple[int, bytes]:
    """What a client gets. The host's own questions for the evidence are answered in the same way."""
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            with suppress(OSError), enclave.accept() as exchange:
                exchange.body()
                if status is not None:
                    exchange.answer(status, "application/json", body)

    enclave.patience(0.2)
    serving = threading.Thread(target=serve)
    serving.start()
    try:
        with client(port) as connection:
            connection.request("GET", EVIDENCE)
            response = connection.getresponse()
            return response.status, response.read()
    finally:
        stopped.set()
        serving.join(10)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"no evidence"), (200, b'{"tee":"sev-snp"}'), (200, b""), (404, b"{}"), (503, b"{}")],
)
def test_what_cannot_be_stapled_is_passed_on(
    port: int, enclave: FakeEnclave, status: int, body: bytes
) -> None:
    assert ask(port, enclave, status, body) == (status, body)


def test_an_enclave_that_breaks_off_is_said_to(port: int, enclave: FakeEnclave) -> None:
    status, body = ask(port, enclave, None, b"")
    assert status == 502
    assert json.loads(body)["title"] == "the enclave ended the exchange"
