# SPDX-License-Identifier: Apache-2.0
"""Lets a program that speaks HTTP through httpx speak to an enclave, such as OpenAI's own client.

    with sottovoce.connect(url) as connection, sottovoce.http_client(connection) as http:
        OpenAI(base_url=f"{url}/v1", api_key="-", http_client=http)

What the program sends goes into the encryption, and what it gets was authenticated. Failures are this
project's exceptions and none of httpx's, so that nobody takes a refused enclave for a network to try again.

(Methods are not marked as overriding: `typing.override` came with Python 3.12.)
"""

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Final

import httpx

from sottovoce.async_events import AsyncEvents
from sottovoce.session import Content, Event, Head
from sottovoce.transport import Connection
from wire.receipt import RECEIPT_FIELD
from wire.session import IDEMPOTENCY_FIELD
from wire.shaping import SHAPING_FIELD

# What of a program's header means something inside; the rest is about a connection that there is not.
PASSED_ON: Final = frozenset({"accept", "authorization", IDEMPOTENCY_FIELD, RECEIPT_FIELD, SHAPING_FIELD})
CONFLICT: Final = 409


class WrongOriginError(Exception):
    """The program wants to send something elsewhere. Nothing was sent."""


class EnclaveTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends all requests to the enclave behind one connection, whose owner closes it.

    One object serves `httpx.Client` and `httpx.AsyncClient`, also both at once.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # type: ignore[explicit-override]
        """The enclave's answer, when its head is authentic.

        Raises WrongOriginError for a URL of another origin, and what `Connection.stream` raises.
        """
        events = self._stream(request, request.read())
        head = next(events)
        assert isinstance(head, Head), "an answer begins with its head"
        return _response(head, _Body(events))

    async def handle_async_request(  # type: ignore[explicit-override]
        self, request: httpx.Request
    ) -> httpx.Response:
        """The same for a program with an event loop, which is never held up."""
        events = AsyncEvents(self._stream(request, await request.aread()))
        return _response(await events.head(), _AsyncBody(events))

    def _stream(self, request: httpx.Request, content: bytes) -> Generator[Event]:
        self._check_origin(request.url)
        return self._connection.stream(
            request.method,
            request.url.raw_path.decode("ascii"),
            content,
            content_type=request.headers.get("content-type", "application/json"),
            fields=tuple(field for field in request.headers.multi_items() if field[0] in PASSED_ON),
        )

    def _check_origin(self, url: httpx.URL) -> None:
        own = self._connection.origin
        if (url.scheme, url.host, url.port) != (own.scheme, own.host, own.port):
            raise WrongOriginError(f"this transport sends to {own.scheme}://{own.netloc.decode()} alone")


class _Body(httpx.SyncByteStream):
    """The content of an answer. Closing it before its end cancels the request."""

    def __init__(self, events: Generator[Event]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[bytes]:  # type: ignore[explicit-override]
        for event in self._events:
            if isinstance(event, Content):
                yield event.data

    def close(self) -> None:  # type: ignore[explicit-override]
        self._events.close()


class _AsyncBody(httpx.AsyncByteStream):
    """The same for a program with an event loop."""

    def __init__(self, events: AsyncEvents) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:  # type: ignore[explicit-override]
        async for event in self._events:
            if isinstance(event, Content):
                yield event.data

    async def aclose(self) -> None:  # type: ignore[explicit-override]
        self._events.close()


def fields_of(head: Head) -> dict[str, str]:
    """The header of an answer, for a program that tries again by itself.

    A conflict says that the request came in twice, and was done once. OpenAI's client would send a third.
    """
    return head.fields | ({"x-should-retry": "false"} if head.status == CONFLICT else {})


def _response(head: Head, body: httpx.SyncByteStream | httpx.AsyncByteStream) -> httpx.Response:
    return httpx.Response(head.status, headers=fields_of(head), stream=body)


def client(connection: Connection) -> httpx.Client:
    """An httpx client whose requests all go to the enclave."""
    return httpx.Client(transport=EnclaveTransport(connection), timeout=None)  # noqa: S113 - the connection's hold


def async_client(connection: Connection) -> httpx.AsyncClient:
    """The same for a program with an event loop."""
    return httpx.AsyncClient(transport=EnclaveTransport(connection), timeout=None)  # noqa: S113 - as above
