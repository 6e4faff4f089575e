# SPDX-License-Identifier: Apache-2.0
"""Verify an enclave and talk to it, over HTTP."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx

from attestation.evidence import Evidence, EvidenceError, decode_evidence
from attestation.policy import Policy
from attestation.verify import Caches, VerifiedEnclave, verify
from sottovoce.session import Content, Event, Exchange, Head, TamperedResponse, TruncatedResponse

EVIDENCE_PATH = "/.well-known/attested-ohttp"
GATEWAY_PATH = "/.well-known/ohttp-gateway"
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
OK, UNKNOWN_KEY, INTERNAL_ERROR = 200, 422, 500
MAX_EVIDENCE_BYTES = 1 << 16


class UnreachableError(Exception):
    """The host cannot be reached, or gives no evidence. Nothing was sent to it."""


class RefusedByHostError(Exception):
    """The host did not pass the request on, or the enclave could not open it. Why is the host's word."""


class ApiError(Exception):
    """The enclave answered with an error. This one is authentic."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} ({status})")
        self.status = status


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    content: str = field(repr=False)


class Connection:
    """A verified enclave behind one URL.

    Keys change every ten minutes: an enclave that does not know the key any more is verified again, once, and
    the request is sealed anew.
    """

    def __init__(self, url: str, policy: Policy) -> None:
        """Prepare; `verify` makes the first request. Raises UnreachableError for an impossible address."""
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        try:
            self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout, trust_env=False)
        except httpx.InvalidURL as error:
            raise UnreachableError(f"there can be no host at {url}: {error}") from error
        self._policy, self._caches = policy, Caches()
        self._enclave: VerifiedEnclave | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def evidence(self) -> Evidence:
        """The evidence that the host hands out, unverified. Raises UnreachableError and EvidenceError."""
        try:
            with self._http.stream("GET", EVIDENCE_PATH) as response:
                if response.status_code != OK:
                    raise UnreachableError(f"the host gives no evidence (status {response.status_code})")
                return decode_evidence(_read_at_most(response, MAX_EVIDENCE_BYTES))
        except (httpx.HTTPError, UnicodeError) as error:  # a name that cannot be a host's is a UnicodeError
            raise UnreachableError(f"the host cannot be reached: {error}") from error

    def verify(self) -> VerifiedEnclave:
        """Verify the enclave now. Raises UnreachableError, EvidenceError and VerificationError."""
        self._enclave = verify(self.evidence(), self._policy, int(time.time()), self._caches)
        return self._enclave

    def models(self) -> list[str]:
        """The names of the models that the enclave serves."""
        head, body = self._whole("GET", "/v1/models", b"")
        _check(head, body)
        return [str(model["id"]) for model in json.loads(body)["data"]]

    def chat(self, model: str, turns: list[Turn], **parameters: float) -> Iterator[str]:
        """The answer as it is generated.

        Raises ApiError for an error of the enclave, AnswerError where the answer cannot be believed.
        """
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        request = {"model": model, "messages": messages, "stream": True} | parameters
        yield from _deltas(self.stream("POST", "/v1/chat/completions", json.dumps(request).encode()))

    def stream(self, method: str, path: str, content: bytes) -> Iterator[Event]:
        """One exchange: its head, then its content piece by piece; it ends normally only when complete."""
        for attempt in range(2):
            enclave = self._current() if attempt == 0 else self.verify()
            exchange = Exchange(enclave, method, path, content=content, content_type="application/json")
            with self._post(exchange) as response:
                if response.status_code == UNKNOWN_KEY and attempt == 0:
                    continue
                if response.status_code != OK:
                    raise RefusedByHostError(
                        f"the host answered {response.status_code} in place of the enclave"
                    )
                exchange.check_media_type(response.headers.get("content-type", ""))
                yield from _receive(exchange, response)
                return

    def _current(self) -> VerifiedEnclave:
        """The verified enclave; verified anew where its evidence has expired since."""
        if self._enclave is None or self._enclave.claims.expires_at <= time.time():
            return self.verify()
        return self._enclave

    def _whole(self, method: str, path: str, content: bytes) -> tuple[Head, bytes]:
        return _join(list(self.stream(method, path, content)))

    @contextmanager
    def _post(self, exchange: Exchange) -> Generator[httpx.Response]:
        headers = {"content-type": exchange.media_type, "incremental": "?1"}
        try:
            with self._http.stream("POST", GATEWAY_PATH, content=exchange.body, headers=headers) as response:
                yield response
        except httpx.ConnectError as error:
            raise UnreachableError(f"the host cannot be reached: {error}") from error
        except httpx.HTTPError as error:
            raise TruncatedResponse(f"the connection to the host broke: {type(error).__name__}") from error


def _read_at_most(response: httpx.Response, limit: int) -> bytes:
    document = bytearray()
    for data in response.iter_raw():
        document += data
        if len(document) > limit:
            raise EvidenceError(f"the evidence document exceeds {limit} bytes")
    return bytes(document)


def _receive(exchange: Exchange, response: httpx.Response) -> Iterator[Event]:
    for data in response.iter_raw():
        yield from exchange.receive(data)
    yield from exchange.end()


def _join(events: list[Event]) -> tuple[Head, bytes]:
    heads = [event for event in events if isinstance(event, Head)]
    return heads[0], b"".join(event.data for event in events if isinstance(event, Content))


def _check(head: Head, body: bytes) -> None:
    if head.status != OK:
        raise ApiError(head.status, _error_message(body))


def _error_message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "the enclave refused"


def _deltas(events: Iterator[Event]) -> Iterator[str]:
    """The texts in a stream of server-sent events. Raises ApiError."""
    head, held = next(events), b""
    assert isinstance(head, Head), "an answer begins with its head"
    if head.status != OK:
        _check(*_join([head, *events]))
    for event in events:
        assert isinstance(event, Content), "an answer has one head"
        held += event.data
        *lines, held = held.split(b"\n\n")
        for line in lines:
            yield from _delta(line)


def _delta(line: bytes) -> Iterator[str]:
    text = line.removeprefix(b"data: ")
    if line.startswith(b":") or text == b"[DONE]":
        return
    event = json.loads(text)
    if "error" in event:
        raise ApiError(INTERNAL_ERROR, _error_message(text))
    for choice in event["choices"]:
        content = choice["delta"].get("content", "")
        if content:
            yield str(content)


__all__ = ["ApiError", "Connection", "RefusedByHostError", "TamperedResponse", "Turn", "UnreachableError"]
