# SPDX-License-Identifier: Apache-2.0
"""A part of the enclave dies in the middle: clients are told, and it goes on with new keys."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import Place, enclave, free_port, host, is_healthy
from sottovoce.session import TruncatedResponse
from sottovoce.transport import ApiError, Connection
from sottovoce.trust import choose_policy
from tests.conftest import Pair, wait_until
from tests.e2e.test_answers import MODEL, QUESTION, STORY

ROOT = Path(__file__).parent.parent.parent


def restarted(pair: Pair) -> bool:
    """Whether the enclave came back after its first start."""
    return pair.events().count('"event": "Started"') > 1 and is_healthy(pair.place)


def test_a_dead_engine_is_an_authentic_error_and_then_comes_back_with_new_keys(own_pair: Pair) -> None:
    with own_pair.connect() as connection:
        before = connection.verify()
        stream = connection.chat(MODEL, STORY, max_tokens=3000, temperature=0)
        for _ in range(5):
            next(stream)
        os.kill(own_pair.process("enclave.engine"), 9)
        with pytest.raises(ApiError, match="the engine stopped"):
            list(stream)
        wait_until(lambda: restarted(own_pair), "the enclave is back")
        assert "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=8))
        after = connection.verify()
    assert after.evidence.keys != before.evidence.keys
    assert after.claims.receipt_key != before.claims.receipt_key


def test_a_dead_session_process_is_a_cut_answer_and_then_comes_back(own_pair: Pair) -> None:
    with own_pair.connect() as connection:
        stream = connection.chat(MODEL, STORY, max_tokens=3000, temperature=0)
        for _ in range(5):
            next(stream)
        os.kill(own_pair.process("enclave.serve"), 9)
        with pytest.raises(TruncatedResponse):
            list(stream)
        wait_until(lambda: restarted(own_pair), "the enclave is back")
        assert "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=8))


def test_a_dead_reporter_takes_the_keys_along(own_pair: Pair) -> None:
    with own_pair.connect() as connection:
        before = connection.verify()
        os.kill(own_pair.process("enclave.reporter"), 9)
        wait_until(lambda: restarted(own_pair), "the enclave is back")
        assert "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=8))
        assert connection.verify().claims.receipt_key != before.claims.receipt_key


def test_a_dead_host_is_a_cut_answer(own_pair: Pair) -> None:
    with own_pair.connect() as connection:
        stream = connection.chat(MODEL, STORY, max_tokens=3000, temperature=0)
        for _ in range(5):
            next(stream)
        own_pair.host.kill()
        with pytest.raises(TruncatedResponse):
            list(stream)


def test_the_demonstration_succeeds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path), "COLUMNS": "100"}
    command = [sys.executable, "-P", "-m", "deploy.demo"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "could read none" in done.stdout
    assert done.stdout.count("not found") == 3
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[str]:
    """The command lines of processes that were started with this data folder."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text(encoding="utf-8"))
        except OSError:
            continue
    return found


def test_the_link_can_be_tcp(tmp_path: Path, vendor_folder: Path) -> None:
    port = free_port()
    place = Place(tmp_path, vendor_folder, port, f"http://localhost:{port}")
    link = f"tcp:127.0.0.1:{free_port()}"
    with enclave(place, link=link), host(place, link=link):
        policy = choose_policy(place.url, file=place.policy, simulated=True)
        with Connection(place.url, policy) as connection:
            assert "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=8))
