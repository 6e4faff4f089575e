# SPDX-License-Identifier: Apache-2.0
"""HTTP to the host: fetch the public document, deliver an exchange. Nothing the host says is believed."""

from collections.abc import Generator
from contextlib import contextmanager

import httpx

from attestation.evidence import EvidenceError
from sottovoce.session import UNKNOWN_KEY, Exchange, TruncatedResponse

EVIDENCE_PATH = "/.well-known/attested-ohttp"
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
MAX_EVIDENCE_BYTES = 1 << 16
MAX_CONNECTIONS = 64
OK = 200


class UnreachableError(Exception):
    """The host cannot be reached, or gives no evidence. Nothing was sent to it."""


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

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def document(self) -> bytes:
        """What the host hands out as evidence. Raises UnreachableError and EvidenceError."""
        try:
            with self._http.stream("GET", EVIDENCE_PATH) as response:
                if response.status_code != OK:
                    raise UnreachableError(f"the host gives no evidence (status {response.status_code})")
                return _read_at_most(response, MAX_EVIDENCE_BYTES)
        except (httpx.HTTPError, UnicodeError) as error:  # a name that cannot be a host's is a UnicodeError
            raise UnreachableError(f"the host cannot be reached: {error}") from error

    @contextmanager
    def deliver(self, exchange: Exchange) -> Generator[httpx.Response]:
        """The host's response to an exchange. Raises UnreachableError and TruncatedResponse."""
        headers = {"content-type": exchange.media_type, "incremental": "?1"}
        try:
            with self._http.stream(
                "POST", exchange.gateway_path, content=exchange.body, headers=headers
            ) as response:
                yield response
        except httpx.ConnectError as error:
            raise UnreachableError(f"the host cannot be reached: {error}") from error
        except httpx.HTTPError as error:
            raise TruncatedResponse(f"the connection to the host broke: {type(error).__name__}") from error


def check_passed_on(exchange: Exchange, response: httpx.Response) -> None:
    """Raise RefusedByHostError or TamperedResponse unless this looks like an encapsulated answer."""
    if response.status_code == UNKNOWN_KEY:
        raise UnknownKeyError("the host says that the enclave does not know this key")
    if response.status_code != OK:
        raise RefusedByHostError(f"the host answered {response.status_code} in place of the enclave")
    exchange.check_media_type(response.headers.get("content-type", ""))


def _read_at_most(response: httpx.Response, limit: int) -> bytes:
    document = bytearray()
    for data in response.iter_raw():
        document += data
        if len(document) > limit:
            raise EvidenceError(f"the evidence document exceeds {limit} bytes")
    return bytes(document)
