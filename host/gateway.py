# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: public documents, the relay, and the operator's health check."""

import asyncio
import time
from collections.abc import Coroutine, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from host import relay
from host.health import claims_expire_at
from host.link import LinkError, NoEnclaveError, Stream, connect
from host.stapler import Stapler
from wire import frames

MAX_EVIDENCE_BYTES = 1 << 16
HEALTH_SECONDS = 5


def application(link: str, stapler: Stapler | None = None, adapters: Sequence[Route] = ()) -> Starlette:
    """The ASGI application of one host in front of one enclave, with what other protocols need beside it.

    It runs the stapler, if there is one.
    """

    async def pass_on(request: Request) -> Response:
        return relayed(link, request, request.url.path, relay.Dialect())

    async def evidence(request: Request) -> Response:
        return await pass_on(request) if stapler is None else await stapled_evidence(link, stapler)

    async def health(_request: Request) -> Response:
        if not await is_healthy(link):
            return problem_response(relay.Problem.UNHEALTHY)
        endorsements = {} if stapler is None else {"endorsements": stapler.status}
        return JSONResponse({"status": "ok"} | endorsements)

    async def unknown(_request: Request, error: Exception) -> Response:
        missing = isinstance(error, HTTPException) and error.status_code == relay.Problem.NOT_FOUND.status
        return problem_response(relay.Problem.NOT_FOUND if missing else relay.Problem.NOT_ALLOWED)

    routes = [
        Route(path, evidence if path == relay.EVIDENCE_PATH else pass_on, methods=list(methods))
        for path, methods in relay.ROUTES.items()
    ]
    handlers = {relay.Problem.NOT_FOUND.status: unknown, relay.Problem.NOT_ALLOWED.status: unknown}
    served = Starlette(
        routes=[*routes, Route("/healthz", health), *adapters],
        exception_handlers=handlers,
        lifespan=None if stapler is None else lambda _: stapler.running(),
    )
    served.router.redirect_slashes = False  # a path is one of these or none
    return served


async def is_healthy(link: str) -> bool:
    """Whether the enclave serves evidence that has not expired."""
    try:
        return claims_expire_at(await public_document(link, relay.EVIDENCE_PATH)) > time.time()
    except LinkError:
        return False


async def public_document(link: str, path: str) -> bytes:
    """What the enclave publishes under this path. Raises LinkError, also where it publishes nothing."""
    head, document = await read_document(link, path)
    if head.status != 200:
        raise LinkError(f"the enclave answered {head.status}")
    return document


async def read_document(link: str, path: str) -> tuple[frames.AnswerHead, bytes]:
    """The enclave's answer to a question for a document, whatever it is. Raises LinkError."""
    try:
        async with asyncio.timeout(HEALTH_SECONDS), connect(link) as stream:
            await stream.send(relay.request_head("GET", path, ""))
            stream.finish()
            head, document = await _answer_head(stream, relay.Dialect())
            while len(document) <= MAX_EVIDENCE_BYTES and (more := await stream.receive()):
                document += more
            return head, document
    except TimeoutError as error:
        raise LinkError("the enclave took too long to answer") from error


async def stapled_evidence(link: str, stapler: Stapler) -> Response:
    """The evidence with what vendors say about the machine, as far as that is at hand."""
    try:
        head, document = await read_document(link, relay.EVIDENCE_PATH)
    except NoEnclaveError:
        return problem_response(relay.Problem.NO_ENCLAVE)
    except LinkError:
        return problem_response(relay.Problem.BROKEN_LINK)
    outgoing = relay.enclave_answer(head)
    content = stapler.staple(document) if head.status == 200 else document
    return Response(content, outgoing.status, dict(outgoing.headers))


def problem_response(problem: relay.Problem) -> Response:
    """An answer of the host itself."""
    outgoing = relay.host_answer(problem)
    return Response(problem.body(), outgoing.status, dict(outgoing.headers))


def relayed(link: str, request: Request, path: str, dialect: relay.Dialect) -> Response:
    """Pass a request on to the enclave under this path."""
    try:
        head = relay.request_head(request.method, path, request.headers.get("content-type", ""))
    except frames.FrameError:
        return problem_response(relay.Problem.BAD_HEAD)
    return Relayed(link, head, dialect)


class Relayed(Response):
    """One exchange: the request's bytes to the enclave and its answer's bytes back, both as they come."""

    def __init__(self, link: str, head: bytes, dialect: relay.Dialect) -> None:
        self._link, self._head, self._dialect = link, head, dialect

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay until the answer is complete or the client goes away."""
        client = _Client(receive, send)
        try:
            async with connect(self._link) as stream:
                await stream.send(self._head + self._dialect.opening)
                await _first(_upload(client, stream, self._dialect), _download(client, stream, self._dialect))
        except NoEnclaveError:
            await client.refuse(relay.Problem.NO_ENCLAVE)
        except LinkError:
            await client.refuse(relay.Problem.BROKEN_LINK)
        except _TooLargeError:
            await client.refuse(relay.Problem.TOO_LARGE)
        except relay.DialectError:
            await client.refuse(relay.Problem.BAD_DIALECT)


class _TooLargeError(Exception):
    """The request's body exceeds the limit."""


class _Client:
    """The client's side of one exchange."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.received = 0
        self._answering = False

    async def next(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        if self.received > relay.MAX_BODY_BYTES:
            raise _TooLargeError
        return message

    async def begin(self, outgoing: relay.Outgoing) -> None:
        self._answering = True
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in outgoing.headers]
        await self._send({"type": "http.response.start", "status": outgoing.status, "headers": headers})

    async def write(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def refuse(self, problem: relay.Problem) -> None:
        if self._answering:
            # The head is gone already. A body that ends without its terminator tells that it was cut.
            raise ConnectionAbortedError(problem.name)
        await self.begin(relay.host_answer(problem))
        await self.write(problem.body(), more=False)


async def _upload(client: _Client, stream: Stream, dialect: relay.Dialect) -> None:
    """Pass the request on; afterwards wait for the client to go away."""
    while True:
        message = await client.next()
        if message["type"] == "http.disconnect":
            return
        if data := dialect.upload(message.get("body", b"")):
            await stream.send(data)
        if not message.get("more_body", False):
            stream.finish()


async def _download(client: _Client, stream: Stream, dialect: relay.Dialect) -> None:
    """Pass the answer back."""
    head, rest = await _answer_head(stream, dialect)
    opening = dialect.answer_opening(head)
    await client.begin(dialect.outgoing(head, rest[:opening]))
    rest = rest[opening:]
    if rest:
        await client.write(rest, more=True)
    while data := await stream.receive():
        await client.write(data, more=True)
    await client.write(b"", more=False)


async def _answer_head(stream: Stream, dialect: relay.Dialect) -> tuple[frames.AnswerHead, bytes]:
    """The head of the enclave's answer, and what came with it, at least its opening. Raises LinkError."""
    reader = frames.AnswerHeadReader()
    head, rest = None, b""
    try:
        while data := await stream.receive():
            if head is None:
                head = reader.receive(data)
                rest = reader.rest if head else b""
            else:
                rest += data
            if head is not None and len(rest) >= dialect.answer_opening(head):
                return head, rest
    except frames.FrameError as error:
        raise LinkError(str(error)) from error
    raise LinkError("the enclave ended the exchange before it answered")


async def _first(upload: Coroutine[None, None, None], download: Coroutine[None, None, None]) -> None:
    """Run both until either the answer is complete or the client has gone away."""
    tasks = [asyncio.ensure_future(upload), asyncio.ensure_future(download)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
