# SPDX-License-Identifier: Apache-2.0
"""The command line as a program: its exit codes and what it prints, against a host that is no enclave."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from typing_extensions import override

from attestation.policy import render_policy
from deploy.local import free_port
from tests.fakes import hardware

Serve = Callable[[int, bytes], str]


def run(*arguments: str, typed: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the client."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "sottovoce", *arguments],
        input=typed,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A host that answers everything with one status and document."""
    servers: list[tuple[http.server.HTTPServer, threading.Thread]] = []

    def start(status: int, document: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers."""

            def do_GET(self) -> None:
                """Send the document."""
                self.send_response(status)
                self.send_header("content-length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """The file of a policy."""
    path = tmp_path / "policy.toml"
    path.write_text(render_policy(hardware.policy()), encoding="utf-8")
    return str(path)


def test_a_host_that_is_not_there_could_not_be_checked() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    told = run("verify", url, "--json")
    assert told.returncode == 20
    document = json.loads(told.stdout)
    assert document["verified"] is False
    assert document["checks"] == []
    assert "cannot be reached" in document["error"]
    assert told.stderr == ""


def test_asking_a_host_that_is_not_there_is_a_sentence_for_a_person() -> None:
    told = run("ask", f"http://127.0.0.1:{free_port()}", "-", typed="what I wanted to know")
    assert (told.returncode, told.stdout) == (20, "")
    assert told.stderr.startswith("could not check: the host cannot be reached")
    assert "wanted" not in told.stderr


@pytest.mark.parametrize("content", [None, b"version = 9", b"\xff", b"measurements = true"])
def test_without_a_policy_nothing_is_checked(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    told = run("verify", "http://127.0.0.1:1", "--policy", str(path), "--json")
    assert told.returncode == 20
    assert str(path) in json.loads(told.stdout)["error"]


def test_simulated_needs_a_simulated_vendor(tmp_path: Path) -> None:
    told = run("verify", "http://127.0.0.1:1", "--simulated", XDG_DATA_HOME=str(tmp_path))
    assert told.returncode == 20
    assert "make run makes one" in " ".join(told.stderr.split())


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://llm.example", "http://[::1::]", "http://a..b"])
def test_an_address_that_is_none_could_not_be_checked(url: str) -> None:
    told = run("verify", url, "--json")
    assert told.returncode == 20
    assert json.loads(told.stdout)["verified"] is False
    assert told.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [[], ["verify"], ["listen", "http://h"], ["ask", "http://h"], ["verify", "http://h", "--colour"]],
)
def test_wrong_usage_has_a_code_of_its_own(arguments: list[str]) -> None:
    told = run(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("usage: sottovoce")


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version").stdout.strip() == metadata.version("sottovoce")


@pytest.mark.parametrize(
    "document", [b"", b"no JSON", b"{}", b"[" * 5000, b'{"v":1}', b"\xff" * 100, b" " * (1 << 17)]
)
def test_a_document_that_is_no_evidence_is_refused(serve: Serve, document: bytes) -> None:
    told = run("verify", serve(200, document), "--json")
    assert told.returncode == 10
    answer = json.loads(told.stdout)
    assert answer["verified"] is False
    assert answer["error"]
    assert told.stderr == ""


def test_a_person_is_told_that_nothing_was_sent(serve: Serve) -> None:
    told = run("ask", serve(200, b"{}"), "a secret question")
    assert (told.returncode, told.stdout) == (10, "")
    assert told.stderr.startswith("refused, and nothing was sent:")


@pytest.mark.parametrize("status", [404, 503, 302])
def test_a_host_without_evidence_could_not_be_checked(serve: Serve, status: int) -> None:
    told = run("verify", serve(status, b"{}"), "--json")
    assert told.returncode == 20
    assert f"status {status}" in json.loads(told.stdout)["error"]


def test_evidence_that_the_policy_does_not_accept_is_refused_with_every_check(
    serve: Serve, policy: str
) -> None:
    told = run("verify", serve(200, hardware.evidence().encode()), "--policy", policy, "--json")
    assert told.returncode == 10
    document = json.loads(told.stdout)
    assert document["verified"] is False
    assert document["simulated"] is True
    failed = {check["name"] for check in document["checks"] if not check["ok"]}
    assert failed
    assert len(failed) < len(document["checks"])


def test_a_refusal_is_a_table_for_a_person(serve: Serve, policy: str) -> None:
    told = run("verify", serve(200, hardware.evidence().encode()), "--policy", policy)
    assert told.returncode == 10
    assert "FAIL" in told.stdout
    assert "Nothing was sent." in told.stdout
    assert "\x1b" not in told.stdout
