# SPDX-License-Identifier: Apache-2.0
"""The canary: what was asked and answered is nowhere in what the host had, on success and on each error path.

Each path is recorded on either side of the host; then the host's log, files and memory are searched. The
search is shown to work by a text that the host does know, and by the client's own memory.
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator

import pytest

from deploy.search import (
    PART_CHARACTERS,
    Needle,
    forms,
    needles,
    search,
    search_files,
    search_memory,
    written_files,
)
from models.fetch import weights_path
from models.manifest import find_manifest
from sottovoce.chat import chat_request
from sottovoce.receipted import Receipted
from sottovoce.receipts import Subject, judge
from sottovoce.session import TruncatedResponse
from sottovoce.transport import ApiError, Connection, Turn
from tests.conftest import Pair
from tests.e2e.test_answers import CHAT, MODEL, stream_close, whole

ANSWERS_IN_BETWEEN = 3
Path = Callable[[Pair, Connection, str], str]


def streamed(_pair: Pair, connection: Connection, prompt: str) -> str:
    return "".join(connection.chat(MODEL, [Turn("user", prompt)], temperature=0, max_tokens=60))


def answered_whole(_pair: Pair, connection: Connection, prompt: str) -> str:
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 60,
    }
    _, _, body = whole(connection.stream("POST", CHAT, json.dumps(request).encode()))
    return str(json.loads(body)["choices"][0]["message"]["content"])


def refused_parameter(_pair: Pair, connection: Connection, prompt: str) -> str:
    request = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], prompt: 1}
    _, _, body = whole(connection.stream("POST", CHAT, json.dumps(request).encode()))
    return str(json.loads(body)["error"]["message"])


def invalid_json(_pair: Pair, connection: Connection, prompt: str) -> str:
    status, _, _ = whole(connection.stream("POST", CHAT, b"{" + prompt.encode()))
    assert status == 400
    return prompt


def unknown_path(_pair: Pair, connection: Connection, prompt: str) -> str:
    _, _, body = whole(connection.stream("GET", "/v1/" + prompt.replace(" ", "-"), b""))
    return str(json.loads(body)["error"]["message"])


def too_long(_pair: Pair, connection: Connection, prompt: str) -> str:
    with pytest.raises(ApiError, match="tokens"):
        list(connection.chat(MODEL, [Turn("user", prompt * 400)]))
    return prompt


def beginning(stream: Iterator[str]) -> str:
    """The first words of an answer."""
    answer = ""
    while len(answer) < PART_CHARACTERS:
        answer += next(stream)
    return answer


def left_early(_pair: Pair, connection: Connection, prompt: str) -> str:
    stream = connection.chat(MODEL, [Turn("user", prompt)], max_tokens=500, temperature=0)
    answer = beginning(stream)
    stream_close(stream)
    return answer


def engine_killed(pair: Pair, connection: Connection, prompt: str) -> str:
    stream = connection.chat(MODEL, [Turn("user", prompt)], max_tokens=2000, temperature=0)
    answer = beginning(stream)
    os.kill(pair.process("enclave.engine"), 9)
    with pytest.raises(ApiError):
        list(stream)
    return answer


def session_killed(pair: Pair, connection: Connection, prompt: str) -> str:
    stream = connection.chat(MODEL, [Turn("user", prompt)], max_tokens=2000, temperature=0)
    answer = beginning(stream)
    os.kill(pair.process("enclave.serve"), 9)
    with pytest.raises(TruncatedResponse):
        list(stream)
    return answer


def with_a_receipt(pair: Pair, connection: Connection, prompt: str) -> str:
    asking = Receipted(connection, chat_request(MODEL, [Turn("user", prompt)], temperature=0, max_tokens=60))
    answer = "".join(asking.texts())
    kept = asking.kept(pair.policy)
    assert judge(kept.receipt, kept.evidence, pair.policy, Subject(answer=answer.encode())).proven
    return answer


PATHS = (
    streamed,
    answered_whole,
    with_a_receipt,
    refused_parameter,
    invalid_json,
    unknown_path,
    too_long,
    left_early,
)
BREAKING_PATHS = (engine_killed, session_killed)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.__name__))
def test_nothing_of_a_conversation_is_in_what_the_host_had(pair: Pair, path: Path) -> None:
    converse_and_search(pair, path)


@pytest.mark.parametrize("path", BREAKING_PATHS, ids=lambda path: str(path.__name__))
def test_nothing_is_there_either_when_the_enclave_breaks(own_pair: Pair, path: Path) -> None:
    converse_and_search(own_pair, path)


def converse_and_search(pair: Pair, path: Path) -> None:
    """Hold a conversation with a canary in it, then look for both sides of it."""
    case = secrets.token_hex(12)
    prompt = f"My lawyer told me about case {case}, of which I must not speak. Write a long letter about it."
    with pair.connect() as connection:
        connection.verify()
        answer = path(pair, connection, prompt)
    assert len(answer) >= PART_CHARACTERS
    wanted = needles("prompt", prompt) + needles("answer", answer)
    control = forms("link", str(pair.place.folder / "tapped.sock"))[:1]
    assert found_in_host(pair, wanted) == []
    assert found_in_host(pair, control) != []


def found_in_host(pair: Pair, wanted: list[Needle]) -> list[Needle]:
    """What is in the traffic, the files, the open files and the memory of the host."""
    found = search(pair.outside.everything() + pair.inside.everything(), wanted)
    found += search_files(pair.place.host_folder, wanted)
    found += [needle for file in written_files(pair.host.pid) for needle in search(file.read_bytes(), wanted)]
    return found + search_memory(pair.host.pid, wanted)


@pytest.mark.skipif(os.getuid() != 0, reason="the memory of an enclave can be searched by root alone")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.__name__))
def test_nothing_of_a_conversation_stays_in_the_memory_of_the_enclave(pair: Pair, path: Path) -> None:
    numbers = " ".join(secrets.token_hex(4) for _ in range(10))  # no part of it twice
    prompt = f"I was told in confidence (file {numbers}) that I have high blood pressure. What is that?"
    with pair.connect() as connection:
        connection.verify()
        answer = path(pair, connection, prompt)
        # What the weights hold (their vocabulary, their template) is in the engine's memory in any case.
        weights = weights_path(find_manifest(MODEL)).read_bytes()
        spoken = needles("prompt", prompt) + needles("answer", answer)
        wanted = [needle for needle in spoken if needle.content not in weights]
        assert {"prompt", "answer"} == {needle.name for needle in wanted}
        parts = [pair.process(part) for part in ("enclave.serve", "enclave.engine", "enclave.reporter")]

        def remaining() -> list[Needle]:
            return [needle for part in parts for needle in search_memory(part, wanted)]

        # The last bytes of an exchange may wait in a buffer for the next one, which is somebody else's.
        left = remaining()
        for _ in range(ANSWERS_IN_BETWEEN):
            if left:
                list(connection.chat(MODEL, [Turn("user", "Hello!")], temperature=0, max_tokens=8))
                left = remaining()
        assert left == []
        assert all(search_memory(part, forms("module", "enclave.protection")[:1]) for part in parts)


def test_the_search_finds_a_prompt_where_it_is(pair: Pair) -> None:
    prompt = f"The canary of this test is {secrets.token_hex(12)} and it sings."
    wanted = needles("prompt", prompt)
    assert search_memory(os.getpid(), wanted) != []
    with pair.connect() as connection:
        streamed(pair, connection, prompt)
    assert search(pair.outside.everything() + prompt.encode(), wanted) != []


def test_the_enclave_logs_events_of_numbers_and_enums_alone(pair: Pair) -> None:
    prompt = f"case {secrets.token_hex(12)}"
    with pair.connect() as connection:
        for path in (streamed, refused_parameter, unknown_path):
            path(pair, connection, prompt)
    lines = pair.events().splitlines()
    assert len(lines) > 3
    for line in lines:
        event = json.loads(line)
        assert all(
            isinstance(value, int) or str(value).replace("_", "").isalpha() for value in event.values()
        )
    assert search_files(pair.place.folder, needles("prompt", prompt)) == []
