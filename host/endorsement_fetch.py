# SPDX-License-Identifier: Apache-2.0
"""One question over HTTP: bounded in time, size and number of attempts, and never led anywhere else.

AMD limits how often one may ask and answers 429 (attestation.md 3.2). A service that asked for patience is
left alone until that time is over, whoever asks next.
"""

import asyncio
import email.utils
import secrets
import time
from dataclasses import dataclass
from typing import Final, Protocol

import httpx

from host.endorsement_forms import FormError, chain_of_header, check_form
from host.endorsement_requests import MAX_CERTIFICATE_BYTES, Request, Service
from host.endorsement_settings import Settings

MAX_CONCURRENT: Final = 4  # so that a fresh start does not spend a service's whole allowance at once
FIRST_WAIT_SECONDS: Final = 1.0
OK, NOT_FOUND, GONE, TOO_MANY_REQUESTS, SERVER_ERROR, UNAVAILABLE = 200, 404, 410, 429, 500, 503


class FetchError(Exception):
    """There is no answer now: the service cannot be reached, fails, or answers what is no answer."""


class NotThereError(FetchError):
    """The service answered that it has no such thing, so asking again is useless."""


class BusyError(FetchError):
    """The service asked for patience, for longer than one waits here."""


class World(Protocol):
    """What fetching needs of the world, given by whoever runs it: a test has a world of its own."""

    def now(self) -> float:
        """The time in unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def jitter(self) -> float:
        """A number from 0 to 1, different each time, so that hosts do not come back in step."""
        ...


class SystemWorld:
    """This machine's clock, patience and chance."""

    def now(self) -> float:
        """The machine's clock."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait, and let others run."""
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        """A number from 0 to 1."""
        return secrets.randbelow(1 << 20) / (1 << 20)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said, of the form that was asked for, and the PEM of the issuers if it gives them."""

    content: bytes
    chain: bytes


class _Retry(Exception):  # noqa: N818 - what to do next, not a fault of ours
    """A failure that may pass. `after_seconds` is what the service asked for, if it did."""

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Fetcher:
    """Asks the services. The client is `vendor_client()`'s, and belongs to the caller, who closes it."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, world: World) -> None:
        self._settings, self._client, self._world = settings, client, world
        self._places = asyncio.Semaphore(MAX_CONCURRENT)
        self._not_before: dict[Service, float] = {}

    async def fetch(self, request: Request) -> Answer:
        """The answer to a question. Raises FetchError, after all attempts."""
        async with self._places:
            attempts = 0
            while True:
                self._respect_patience(request.service)
                try:
                    return await self._ask(request)
                except _Retry as failure:
                    wait = self._wait(request.service, attempts, failure)
                    attempts += 1
                    if attempts == self._settings.attempts:
                        raise FetchError(f"{request.key}: {failure}") from failure
                await self._world.sleep(wait)

    def _respect_patience(self, service: Service) -> None:
        left = self._not_before.get(service, 0.0) - self._world.now()
        if left > 0:
            raise BusyError(f"{service} asked for patience for {left:.0f} s more")

    def _wait(self, service: Service, attempt: int, failure: _Retry) -> float:
        """How long to wait after a failure. Raises BusyError where the service wants more than is allowed."""
        longest = self._settings.max_wait_seconds
        if failure.after_seconds is not None and failure.after_seconds > longest:
            # However long it says: an hour later it is asked again.
            patience = min(failure.after_seconds, self._settings.max_patience_seconds)
            self._not_before[service] = self._world.now() + patience
            raise BusyError(f"{service} asked for patience for {failure.after_seconds:.0f} s") from failure
        least = FIRST_WAIT_SECONDS * 2**attempt if failure.after_seconds is None else failure.after_seconds
        return min(least, longest) * (1 + self._world.jitter() / 2)

    async def _ask(self, request: Request) -> Answer:
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                return await self._exchange(request)
        except TimeoutError as error:
            raise _Retry(f"no answer within {self._settings.deadline_seconds} s") from error
        except httpx.TransportError as error:
            raise _Retry(f"no answer: {type(error).__name__} {error}") from error

    async def _exchange(self, request: Request) -> Answer:
        url = self._settings.base_url(request.service) + request.target
        async with self._client.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
            self._check_status(response)
            check_declared(request, response)
            content = await _body(response, request.max_bytes)
            chain = response.headers.get(request.chain_header, "") if request.chain_header else ""
        return answer(request, content, chain)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == OK:
            return
        if status in {NOT_FOUND, GONE}:
            raise NotThereError(f"{response.url} is not there (status {status})")
        if status in {TOO_MANY_REQUESTS, UNAVAILABLE}:
            after = retry_after(response.headers.get("retry-after", ""), self._world.now())
            raise _Retry(f"asked for patience (status {status})", after)
        if status >= SERVER_ERROR:
            raise _Retry(f"the service failed (status {status})")
        # Redirects too: neither service has any, and one to elsewhere would tell a stranger what is asked.
        raise FetchError(f"{response.url} gave status {status}")


def vendor_client(settings: Settings) -> httpx.AsyncClient:
    """A client with this project's bounds: no redirects, no proxies or credentials of the environment."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(settings.timeout_seconds),
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_connections=MAX_CONCURRENT, max_keepalive_connections=MAX_CONCURRENT),
        headers={"user-agent": "sottovoce-host"},
    )


def answer(request: Request, content: bytes, chain_header: str) -> Answer:
    """An answer of the form that was asked for. Raises FetchError."""
    try:
        check_form(request, content)
        chain = chain_of_header(chain_header, MAX_CERTIFICATE_BYTES) if request.chain_header else b""
    except FormError as error:
        raise FetchError(f"{request.key}: {error}") from error
    return Answer(content, chain)


def check_declared(request: Request, response: httpx.Response) -> None:
    """Refuse what declares itself to be something else, before reading it. Raises FetchError."""
    declared = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared and declared not in request.form.value:
        raise FetchError(f"{request.key}: expected {request.form.name}, found content of type {declared!r}")
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise FetchError(f"{request.key}: expected content that is not compressed")


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > max_bytes:
            raise FetchError(f"{response.url}: an answer of more than {max_bytes} bytes")
    return bytes(body)


def retry_after(value: str, now: float) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or a date; None for neither."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
