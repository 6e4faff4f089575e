# SPDX-License-Identifier: Apache-2.0
"""The unmodified `openai` package over a verified connection."""

from collections.abc import Iterator

import httpx2
from openai import OpenAI
from typing_extensions import override

from sottovoce.session import Content, Event, Head
from sottovoce.transport import Connection


class Sealed(httpx2.BaseTransport):
    """Sends every request into the enclave, and nothing anywhere else."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @override
    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        events = self._connection.stream(request.method, request.url.raw_path.decode(), request.read())
        head = next(events)
        assert isinstance(head, Head)
        return httpx2.Response(head.status, headers=dict(head.fields), stream=_Body(events))


class _Body(httpx2.SyncByteStream):
    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events

    @override
    def __iter__(self) -> Iterator[bytes]:
        for event in self._events:
            if isinstance(event, Content):
                yield event.data


def client(connection: Connection) -> OpenAI:
    """A client as an application makes it, but for its transport."""
    http = httpx2.Client(transport=Sealed(connection))
    return OpenAI(base_url="https://enclave.test/v1", api_key="unused", http_client=http, max_retries=0)
