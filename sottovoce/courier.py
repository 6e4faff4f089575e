# SPDX-License-Identifier: Apache-2.0
"""HTTP to the host: fetch the public document, deliver an exchange. Nothing the host says is believed.

A host that is busy (503) and says when to come back is asked again, within limits, with the same bytes. That
is harmless: an enclave opens no ciphertext twice, and whoever could deliver a copy has it already.
"""

import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from attestation.evidence import EvidenceError
from sottovoce.delivered import Delivered, Pool
from sottovoce.session import UNKNOWN_KEY, Exchange, TruncatedResponse

EVIDENCE_PATH = "/.well-known/attested-ohttp"
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
MAX_EVIDENCE_BYTES = 1 << 16
MAX_CONNECTIONS = 64
OK, BUSY = 200, 503
PATIENCE_SECONDS, LEAST_PAUSE_SECONDS = 20.0, 0.2  # for a busy host, in all and each time

_SECONDS = re.compile("[0-9]{1,4}")


class UnreachableError(Exception):
    """The host cannot be reached, gives no evidence, or is no longer asked. Nothing was sent to it."""


class RefusedByHostError(Exception):
    """The host did not pass the request on, or the enclave could not open it. Why is the host's word."""


class UnknownKeyError(RefusedByHostError):
    """The host says that the key is not known any more. A client reads the evidence again, once."""


class Courier:
    """One host. Any number of threads may use it at once."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        """Prepare, and send nothing. Raises UnreachableError for an impossible address."""
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None)
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS)
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/"), timeout=timeout, limits=limits, trust_env=False, transport=transport
            )
        except httpx.InvalidURL as error:
            raise UnreachableError(f"there can be no host at {url}: {error}") from error
        self._closed, self._pool = threading.Event(), Pool()

    def close(self) -> None:
        """Close all connections. Whoever waits for a busy host waits no more."""
        self._closed.set()
        with self._pool:
            self._http.close()

    def document(self) -> bytes:
        """What the host hands out as evidence. Raises UnreachableError and EvidenceError."""
        try:
            with self._ask(self._http.build_request("GET", EVIDENCE_PATH)) as response:
                if response.status_code != OK:
                    raise UnreachableError(f"the host gives no evidence (status {response.status_code})")
                return _read_at_most(response, MAX_EVIDENCE_BYTES)
        except (httpx.HTTPError, UnicodeError) as error:  # a name that cannot be a host's is a UnicodeError
            raise UnreachableError(f"the host cannot be reached: {error}") from error

    @contextmanager
    def deliver(self, exchange: Exchange) -> Generator[Delivered]:
        """The host's response to an exchange. Raises UnreachableError and TruncatedResponse."""
        headers = {"content-type": exchange.media_type, "incremental": "?1"}
        try:
            request = self._http.build_request(
                "POST", exchange.gateway_path, content=exchange.body, headers=headers
            )
            with self._ask(request) as response:
                yield response
        except httpx.ConnectError as error:
            raise UnreachableError(f"the host cannot be reached: {error}") from error
        except httpx.HTTPError as error:
            raise TruncatedResponse(f"the connection to the host broke: {type(error).__name__}") from error

    @contextmanager
    def _ask(self, request: httpx.Request) -> Generator[Delivered]:
        """The host's response; where it is busy, the one after the pause that it asks for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        response = self._send(request)
        while True:
            try:
                seconds = pause_seconds(response)
                late = seconds is None or time.monotonic() + seconds > deadline
                if late or self._closed.wait(seconds):
                    yield response
                    return
            finally:
                self._pool.end(response)
            try:
                response = self._send(request)
            except httpx.ConnectError as error:  # which would say that nothing was sent
                raise httpx.ReadError(str(error)) from error

    def _send(self, request: httpx.Request) -> Delivered:
        if self._closed.is_set():
            raise httpx.ConnectError("the connection was closed")
        with self._pool:
            return self._pool.deliver(self._http.send(request, stream=True))


def pause_seconds(response: Delivered | httpx.Response) -> float | None:
    """How long a busy host asks to wait (Retry-After in seconds); None where it is not, or does not say."""
    asked = response.headers.get("retry-after", "")
    if response.status_code != BUSY or not _SECONDS.fullmatch(asked):
        return None
    return max(float(asked), LEAST_PAUSE_SECONDS)


def check_passed_on(exchange: Exchange, response: Delivered) -> None:
    """Raise RefusedByHostError or TamperedResponse unless this looks like an encapsulated answer."""
    if response.status_code == UNKNOWN_KEY:
        raise UnknownKeyError("the host says that the enclave does not know this key")
    if response.status_code != OK:
        raise RefusedByHostError(f"the host answered {response.status_code} in place of the enclave")
    exchange.check_media_type(response.headers.get("content-type", ""))


def _read_at_most(response: Delivered, limit: int) -> bytes:
    document = bytearray()
    for data in response.iter_raw():
        document += data
        if len(document) > limit:
            raise EvidenceError(f"the evidence document exceeds {limit} bytes")
    return bytes(document)
