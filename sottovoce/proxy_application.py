# SPDX-License-Identifier: Apache-2.0
"""The local endpoint as an ASGI application: what a program sends goes to the enclave, or nowhere.

All below /v1/ is passed on as it is, so that it offers what the enclave offers. Nothing is logged.
"""

import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from attestation.verify import VerificationError
from sottovoce import proxy_page
from sottovoce.async_events import AsyncEvents
from sottovoce.failures import ERRORS, explain, failure_of
from sottovoce.httpx_adapter import PASSED_ON, fields_of
from sottovoce.proxy_guard import Guard, Rules, error
from sottovoce.proxy_page import State
from sottovoce.session import MAX_CONTENT_BYTES, Content, Head, RequestTooLargeError
from sottovoce.transport import Connection
from sottovoce.trust import judgement

EVENT_STREAM: Final = "text/event-stream"
METHODS: Final = ("GET", "POST", "DELETE")
END_OF_EVENT: Final = b"\n\n"
# What concerns one connection and not the answer (RFC 9110, 7.6.1), or is set anew here.
NOT_PASSED_BACK: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def application(connection: Connection, rules: Rules) -> ASGIApp:
    """The endpoint in front of one enclave."""
    endpoint = Endpoint(connection)
    served = Starlette(
        routes=[
            Route("/", endpoint.page),
            Route("/status", endpoint.status),
            Route("/verify", endpoint.verify, methods=["POST"]),
            Route("/v1/{rest:path}", endpoint.pass_on, methods=list(METHODS)),
        ]
    )
    served.router.redirect_slashes = False
    if not rules.origins:
        return Guard(served, rules)
    allowed = CORSMiddleware(
        served, allow_origins=sorted(rules.origins), allow_methods=METHODS, allow_headers=["*"]
    )
    return Guard(allowed, rules)


class Endpoint:
    """What is behind each path."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def pass_on(self, request: Request) -> Response:
        """What the enclave answers, or why it does not."""
        try:
            return await _answer(self._connection, request)
        except ERRORS as failed:
            return failure(failed)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # to nobody

    async def page(self, request: Request) -> Response:
        """The verdict for a person."""
        url, own = str(self._connection.origin), f"http://{request.headers['host']}/v1"
        text = proxy_page.page(url, own, await to_thread.run_sync(state, self._connection), time.time())
        return HTMLResponse(text, headers=proxy_page.HEADERS)

    async def status(self, _request: Request) -> Response:
        """The verdict for a program."""
        now = await to_thread.run_sync(state, self._connection)
        judged: dict[str, object] = {"verified": False, "checks": []}
        if now.verdict is not None:
            judged = judgement(now.verdict)
        told = [{"kind": notice.kind.value, "sentence": notice.sentence} for notice in now.notices]
        assurance = None if now.assurance is None else now.assurance.value
        return JSONResponse(judged | {"assurance": assurance, "error": now.trouble, "notices": told})

    async def verify(self, _request: Request) -> Response:
        """A person wants another verification."""
        await to_thread.run_sync(verify_again, self._connection)
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)


def state(connection: Connection) -> State:
    """How things stand; opens a session where there is none."""
    session, verdict, trouble = None, None, None
    try:
        session = connection.open()
        verdict = session.enclave.verdict
    except VerificationError as refused:
        verdict, trouble = refused.verdict, explain(refused)
    except ERRORS as failed:
        trouble = explain(failed)
    assurance = None if session is None else session.assurance
    return State(verdict, assurance, trouble, connection.notices)


def verify_again(connection: Connection) -> None:
    """Give an enclave that was refused another chance, because a person asks for it."""
    try:
        connection.reopen()
    except ERRORS:
        return  # the page says what is wrong


def failure(failed: Exception) -> Response:
    """What a program gets in place of an answer. OpenAI's clients try again only where it is safe."""
    kind = failure_of(failed)
    return error(kind.status, kind.code, explain(failed), retry=kind.retry_is_safe)


async def _answer(connection: Connection, request: Request) -> Response:
    """The enclave's answer: a stream as it comes, anything else when it is complete. Raises ERRORS."""
    content = await _content(request)
    path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope["query_string"]
    events = AsyncEvents(
        connection.stream(
            request.method,
            (path + b"?" + query if query else path).decode("ascii"),
            content,
            content_type=request.headers.get("content-type", "application/json"),
            fields=tuple(field for field in request.headers.items() if field[0] in PASSED_ON),
        )
    )
    head = await events.head()
    fields = {name: value for name, value in fields_of(head).items() if name not in NOT_PASSED_BACK}
    fields |= {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if head.fields.get("content-type", "").startswith(EVENT_STREAM):
        return StreamingResponse(_whole_events(events), head.status, fields)
    return Response(await _whole(events), head.status, fields)


async def _content(request: Request) -> bytes:
    content = bytearray()
    async for data in request.stream():
        content += data
        if len(content) > MAX_CONTENT_BYTES:
            raise RequestTooLargeError(f"a request of more than {MAX_CONTENT_BYTES} bytes is not passed on")
    return bytes(content)


async def _whole(events: AsyncEvents) -> bytes:
    try:
        return b"".join([event.data async for event in events if not isinstance(event, Head)])
    finally:
        events.close()


async def _whole_events(events: AsyncEvents) -> AsyncIterator[bytes]:
    """Server-sent events, each in one piece.

    Where the answer breaks, an event says so, and then the connection breaks too: a program that looks at
    either does not take it for complete.
    """
    held = b""
    try:
        async for event in events:
            if isinstance(event, Content):
                whole, border, held = (held + event.data).rpartition(END_OF_EVENT)
                if border:
                    yield whole + border
        if held:
            yield held
    except ERRORS as broken:
        yield b"data: " + bytes(failure(broken).body) + END_OF_EVENT
        raise
    finally:
        events.close()
