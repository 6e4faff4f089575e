# SPDX-License-Identifier: Apache-2.0
"""The enclave's end of the link: limits on time and number, and what is answered before decryption."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from enclave import connection as stream
from enclave import link
from enclave.attester import Attested
from enclave.link import Keys, Link
from enclave.listener import listening
from enclave.reply import SealedReply
from enclave.rotation import Published
from enclave.session import Opened, OuterAnswer, Request
from tests.fakes.courier import ends, read
from wire import frames, ohttp

HONEST = ends(now=time.monotonic())  # the link has the clock of the machine
PUBLISHED = Published(Attested(b"keys", b"claims", b"{}"))
Client = Callable[[Path], Awaitable[None]]


async def answer_with_its_content(opened: Opened, reply: SealedReply) -> None:
    """An API that echoes."""
    assert isinstance(opened.request, Request)
    await reply.whole(200, "text/plain", opened.request.content)


async def answer_never(_opened: Opened, _reply: SealedReply) -> None:
    """An API that takes for ever."""
    await asyncio.Event().wait()


def serving(
    client: Client,
    folder: Path,
    *,
    published: Published | None = None,
    answer: link.Answerer = answer_with_its_content,
) -> None:
    """Run a client against a link."""

    async def run() -> None:
        with listening(f"unix:{folder / 'link'}") as listener:
            listener.setblocking(False)
            made = Link(Keys(HONEST.ring), published or PUBLISHED, answer)
            async with await made.serve(listener):
                await asyncio.wait_for(client(folder / "link"), 20)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 20)
            await asyncio.sleep(0)  # transports close in the next turn of the loop

    asyncio.run(run())


async def exchange(path: Path, sent: bytes, *, end: bool = True) -> tuple[int, str, bytes]:
    """Send bytes to the link, and read the whole answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(sent)
    if end:
        writer.write_eof()
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    head_reader = frames.AnswerHeadReader()
    head = head_reader.receive(received)
    assert head is not None
    return head.status, head.content_type, head_reader.rest


def head(method: str, path: str, content_type: str = "") -> bytes:
    """The head of a request on the link."""
    return frames.encode_request_head(frames.RequestHead(method, path, content_type))


POST = head("POST", "/ohttp", ohttp.CHUNKED_REQUEST)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", OuterAnswer.MALFORMED),
        (b"\xff\xff\xff\xff", OuterAnswer.MALFORMED),
        (b"\0\0\0\4junk", OuterAnswer.MALFORMED),
        (head("GET", "/nothing"), OuterAnswer.NOT_FOUND),
        (head("DELETE", "/ohttp"), OuterAnswer.METHOD_NOT_ALLOWED),
        (head("POST", "/.well-known/attested-ohttp"), OuterAnswer.METHOD_NOT_ALLOWED),
        (head("POST", "/ohttp", "text/plain"), OuterAnswer.UNSUPPORTED_MEDIA),
        (POST, OuterAnswer.MALFORMED),
        (POST + b"\x77" * 2000, OuterAnswer.UNKNOWN_KEY),
    ],
)
def test_what_cannot_be_opened_gets_fixed_bytes(tmp_path: Path, sent: bytes, answer: OuterAnswer) -> None:
    async def client(path: Path) -> None:
        assert await exchange(path, sent) == (answer.status, stream.PROBLEM, answer.body)

    serving(client, tmp_path)


def test_public_documents_are_handed_out_while_there_are_keys(tmp_path: Path) -> None:
    async def client(path: Path) -> None:
        assert await exchange(path, head("GET", "/.well-known/ohttp-gateway")) == (200, ohttp.KEYS, b"keys")
        assert await exchange(path, head("GET", link.EVIDENCE_PATH)) == (200, "application/json", b"{}")

    async def without_keys(path: Path) -> None:
        status, _, _ = await exchange(path, head("GET", link.EVIDENCE_PATH))
        assert status == 503

    serving(client, tmp_path)
    serving(without_keys, tmp_path, published=Published())


def test_a_request_is_answered_sealed(tmp_path: Path) -> None:
    async def client(path: Path) -> None:
        sealed = HONEST.exchange()
        status, content_type, body = await exchange(path, POST + sealed.body)
        assert (status, content_type) == (200, ohttp.CHUNKED_RESPONSE)
        assert b"malignant" not in body
        assert b"malignant" in read(sealed, body)[1]

    serving(client, tmp_path)


def test_a_slow_head_and_a_slow_first_chunk_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "FIRST_CHUNK_SECONDS", 0.2)
    monkeypatch.setattr(stream, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(stream, "LINGER_SECONDS", 0.1)

    async def client(path: Path) -> None:
        status, _, _ = await exchange(path, b"\0\0", end=False)
        assert status == 400
        status, _, _ = await exchange(path, POST + HONEST.exchange().body[:500], end=False)
        assert status == 400

    serving(client, tmp_path)


def test_a_request_that_does_not_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "REQUEST_SECONDS", 0.3)

    async def client(path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(POST + HONEST.exchange().body)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    serving(client, tmp_path)


def test_an_answer_that_takes_too_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "STREAM_SECONDS", 0.2)

    async def client(path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(POST + HONEST.exchange().body)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    serving(client, tmp_path, answer=answer_never)


def test_more_exchanges_than_allowed_are_refused_and_room_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "MAX_EXCHANGES", 2)

    async def client(path: Path) -> None:
        waiting = [await asyncio.open_unix_connection(path) for _ in range(2)]
        for _, writer in waiting:
            writer.write(POST + HONEST.exchange().body)
            writer.write_eof()
        await asyncio.sleep(0.2)
        status, _, _ = await exchange(path, head("GET", link.EVIDENCE_PATH))
        assert status == 503
        for _, writer in waiting:
            writer.transport.abort()
        for _, writer in waiting:
            with suppress(OSError):
                await writer.wait_closed()
        while (await exchange(path, head("GET", link.EVIDENCE_PATH)))[0] != 200:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)  # until it is noticed that they went; `serving` does not wait for ever

    serving(client, tmp_path, answer=answer_never)


def test_an_abandoned_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'link'}"
    abandoned = socket.socket(socket.AF_UNIX)
    abandoned.bind(str(tmp_path / "link"))
    abandoned.close()
    with listening(address):
        with pytest.raises(OSError, match="in use"):
            listening(address).__enter__()
        assert (tmp_path / "link").exists()
    assert not (tmp_path / "link").exists()


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)])
def test_a_link_can_be_tcp(host: str, family: socket.AddressFamily) -> None:
    with listening(f"tcp:{host}:0") as listener:
        assert listener.family is family
        port = listener.getsockname()[1]
        with socket.create_connection((host.strip("[]"), port), timeout=5):
            accepted, _ = listener.accept()
            accepted.close()
