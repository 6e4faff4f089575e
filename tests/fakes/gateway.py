# SPDX-License-Identifier: Apache-2.0
"""An enclave's whole link in this process: real keys, sessions, evidence, sockets; its API counts."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.binding import TeeOctet
from enclave.api.routes import JSON, Reply
from enclave.attester import Attester, Identity, ReportSource
from enclave.freshness import Batches
from enclave.front import Front
from enclave.keys import KeyRing
from enclave.link import Keys, Link
from enclave.listener import listening
from enclave.receipts import Receipts
from enclave.rotation import Published, Rotation
from enclave.session import Problem, Request
from enclave.session_requests import SessionRequests
from enclave.sessions import Sessions
from tests.fakes import hardware
from wire import bhttp, frames, ohttp
from wire.session import SESSION_PATH, SessionRequest, SessionResponse, decode_response, decode_session_keys

GATEWAY = "/.well-known/ohttp-gateway"
AUTHORITY = hardware.ORIGIN.removeprefix("https://")
RECEIPT_KEY = bytes([2]) * 32
PROMPT = b'{"messages":[{"role":"user","content":"is it malignant?"}]}'
EVENTS = (b"data: It \n\n", b"data: is \n\n", b"data: not.\n\n", b"data: [DONE]\n\n")
NONCE = bytes(32)


@dataclass(slots=True)
class Application:
    """Counts what it is asked, and echoes; to `stream` it gives events, to `/never` nothing."""

    calls: list[Request] = field(default_factory=list[Request])
    problems: list[Problem] = field(default_factory=list[Problem])
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    pause: float = 0.0

    async def answer(self, request: Request | Problem, reply: Reply) -> None:
        """Answer."""
        if isinstance(request, Problem):
            self.problems.append(request)
            await reply.whole(request.value, JSON, b'{"error":{}}')
            return
        self.calls.append(request)
        try:
            if request.path == "/never":
                await asyncio.Event().wait()
            elif b'"stream":true' in request.content:
                await self._stream(reply)
            else:
                await reply.whole(200, JSON, request.content)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _stream(self, reply: Reply) -> None:
        await reply.begin(200, "text/event-stream")
        for event in EVENTS:
            await asyncio.sleep(self.pause)
            await reply.write(event)
        await reply.end()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from the link; status 0 where the stream was cut without a word."""

    status: int
    content_type: str
    body: bytes
    times: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """What a client reads in a sealed answer."""

    status: int
    fields: dict[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """A session as its client has it."""

    response: SessionResponse
    keys: tuple[ohttp.KeyConfiguration, ...]

    @property
    def path(self) -> str:
        """Where its requests go."""
        return self.response.session_id.path


class Gateway:
    """The running link."""

    def __init__(self, path: Path, keys: Keys, application: Application, rotation: Rotation) -> None:
        self._path = path
        self.keys, self.application, self.rotation = keys, application, rotation

    @property
    def epoch_keys(self) -> tuple[ohttp.KeyConfiguration, ...]:
        """The key list as clients have it."""
        return ohttp.decode_key_list(self.rotation.published.attested.key_list)

    async def post(self, path: str, body: bytes, content_type: str = ohttp.CHUNKED_REQUEST) -> Answer:
        """One exchange, with the body at once."""
        return await self.exchange(head("POST", path, content_type), [body])

    async def exchange(
        self, begin: bytes, pieces: list[bytes], *, seconds_between: float = 0, end: bool = True
    ) -> Answer:
        """One exchange, with the body in these pieces."""
        reader, writer = await asyncio.open_unix_connection(self._path)
        sending = asyncio.ensure_future(_send(writer, [begin, *pieces], seconds_between, end=end))
        received, times = b"", list[float]()
        try:
            while data := await reader.read(1 << 16):
                received += data
                times.append(time.monotonic())
        except ConnectionResetError:
            pass
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()
        if not received:
            return Answer(0, "", b"", ())
        head_reader = frames.AnswerHeadReader()
        answer = head_reader.receive(received)
        assert answer is not None
        return Answer(answer.status, answer.content_type, head_reader.rest, tuple(times))

    async def connect(self, begin: bytes, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """An exchange that the test goes on with itself."""
        reader, writer = await asyncio.open_unix_connection(self._path)
        writer.write(begin + body)
        writer.write_eof()
        return reader, writer

    async def ask(
        self,
        path: str,
        configuration: ohttp.KeyConfiguration,
        message: bytes,
        suite: int = 0,
    ) -> tuple[Answer, Opened | None]:
        """Seal a message, post it, and read the answer where there is a sealed one."""
        sealer, body = sealed(configuration, message, suite=suite)
        answer = await self.post(path, body)
        return answer, read(sealer, answer) if answer.status == 200 else None

    async def open_session(self, keys: int = 4, *, fresh: bool = True, nonce: bytes = NONCE) -> SessionKeys:
        """A new session."""
        document = SessionRequest(nonce, fresh, keys).encode()
        _, opened = await self.ask(GATEWAY, self.epoch_keys[0], request(document, path=SESSION_PATH))
        assert opened is not None
        assert opened.status == 201, opened.content
        response = decode_response(opened.content)
        return SessionKeys(response, decode_session_keys(response.keys, keys))


async def _send(writer: asyncio.StreamWriter, pieces: list[bytes], seconds: float, *, end: bool) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(seconds)
    if end:
        writer.write_eof()


def head(method: str, path: str, content_type: str = ohttp.CHUNKED_REQUEST) -> bytes:
    """The head of a request on the link."""
    return frames.encode_request_head(frames.RequestHead(method, path, content_type))


def request(
    content: bytes = PROMPT,
    *fields: tuple[str, str],
    path: str = "/v1/chat/completions",
    method: str = "POST",
    authority: str = AUTHORITY,
) -> bytes:
    """A Binary HTTP request, padded."""
    fields = (("content-type", "application/json"), *fields)
    return bhttp.encode_request(
        bhttp.RequestHead(method, "https", authority, path, fields), content, padded_size=1024
    )


def sealed(
    configuration: ohttp.KeyConfiguration,
    message: bytes,
    *,
    suite: int = 0,
    form: ohttp.Format = ohttp.Format.CHUNKED,
    chunk_size: int = 16384,
) -> tuple[ohttp.RequestSealer, bytes]:
    """A message sealed to a key."""
    sealer = ohttp.RequestSealer(configuration, configuration.suites[suite], form)
    if form is ohttp.Format.WHOLE:
        return sealer, sealer.seal(message, last=True)
    pieces = [message[start : start + chunk_size] for start in range(0, len(message), chunk_size)]
    return sealer, b"".join(sealer.seal(piece, last=False) for piece in pieces) + sealer.seal(b"", last=True)


def read(sealer: ohttp.RequestSealer, answer: Answer) -> Opened:
    """What a client reads."""
    opener, decoder = sealer.response_opener(), bhttp.ResponseDecoder()
    chunks = opener.receive(answer.body) + opener.end()
    events = [event for chunk in chunks for event in decoder.receive(chunk)] + decoder.end()
    (first,) = [event for event in events if isinstance(event, bhttp.ResponseHead)]
    content = b"".join(event.data for event in events if isinstance(event, bhttp.Content))
    return Opened(first.status, dict(first.fields), content)


def code_of(opened: Opened | None) -> str:
    """The code of an inner error."""
    assert opened is not None
    return str(json.loads(opened.content)["error"]["code"])


def play(
    folder: Path,
    scenario: Callable[[Gateway], Awaitable[None]],
    *,
    source: ReportSource | None = None,
    sessions: Sessions | None = None,
    seconds: float = 25,
) -> None:
    """Run a scenario against a new enclave."""

    async def run() -> None:
        gc.freeze()  # as an enclave does: what lives for ever need not be looked at again
        identity = Identity(hardware.ORIGIN, "living-room", bytes(32), hardware.MODEL, RECEIPT_KEY)
        attester = Attester(source or hardware.ReportSource(hardware.guest()), identity, TeeOctet.SIMULATED)
        with listening(f"unix:{folder / 'link'}") as listener, ThreadPoolExecutor(1) as executor:
            listener.setblocking(False)
            keys, application, published = (
                Keys(KeyRing(1), sessions or Sessions()),
                Application(),
                Published(),
            )
            rotation = Rotation(keys.ring, keys.sessions, attester, published, executor)
            await rotation.rotate()
            batches = Batches(lambda leaves: attester.attest_leaves(published.attested, leaves), executor)
            session_requests = SessionRequests(keys.sessions, batches, published, RECEIPT_KEY)
            receipts = Receipts(Ed25519PrivateKey.generate(), identity, published)
            front = Front(hardware.ORIGIN, session_requests, application.answer, receipts)
            link = Link(keys, published, front.answer)
            async with await link.serve(listener):
                gateway = Gateway(folder / "link", keys, application, rotation)
                await asyncio.wait_for(_scenario(scenario, gateway), seconds)
                await asyncio.wait_for(link.drain(), seconds)
            await asyncio.sleep(0)

    try:
        asyncio.run(run())
    finally:
        gc.unfreeze()


async def _scenario(scenario: Callable[[Gateway], Awaitable[None]], gateway: Gateway) -> None:
    await scenario(gateway)
