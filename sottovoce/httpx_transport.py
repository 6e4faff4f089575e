# SPDX-License-Identifier: Apache-2.0
"""Lets a program that speaks HTTP through httpx speak to an enclave, such as OpenAI's own client.

    with Connection(url, policy) as connection, client(connection) as http:
        OpenAI(base_url=f"{url}/v1", api_key="-", http_client=http)

What the program sends goes into the encryption, and what it gets was authenticated. Failures are this
project's exceptions and none of httpx's, so that nobody takes a refused enclave for a network to try again.

(Methods are not marked as overriding: `typing.override` came with Python 3.12.)
"""

from collections.abc import Generator, Iterator
from typing import Final

import httpx

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


class EnclaveTransport(httpx.BaseTransport):
    """Sends all requests to the enclave behind one connection, whose owner closes it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # type: ignore[explicit-override]
        """The enclave's answer, when its head is authentic.

        Raises WrongOriginError for a URL of another origin, and what `Connection.stream` raises.
        """
        self._check_origin(request.url)
        events = self._connection.stream(
            request.method,
            request.url.raw_path.decode("ascii"),
            request.read(),
            content_type=request.headers.get("content-type", "application/json"),
            fields=tuple(field for field in request.headers.multi_items() if field[0] in PASSED_ON),
        )
        head = next(events)
        assert isinstance(head, Head), "an answer begins with its head"
        fields = dict(head.fields)
        if head.status == CONFLICT:
            # The request came in twice, and was done once. OpenAI's client would send it a third time.
            fields["x-should-retry"] = "false"
        return httpx.Response(head.status, headers=fields, stream=_Body(events))

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


def client(connection: Connection) -> httpx.Client:
    """An httpx client whose requests all go to the enclave."""
    return httpx.Client(transport=EnclaveTransport(connection), timeout=None)  # noqa: S113 - the connection's hold
