# SPDX-License-Identifier: Apache-2.0
"""What an authentic request meets before the API does: its origin, its shape, and whether it came before."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from enclave.api.errors import ApiError
from enclave.api.routes import Reply
from enclave.idempotency import RepeatedError, TakenRequests
from enclave.receipts import Receipts
from enclave.reply import SealedReply, wanted_shaping, wants_stream
from enclave.session import Opened, Problem, Request
from enclave.session_requests import SessionRequests
from wire.session import SESSION_PATH
from wire.shaping import DEFAULT, ShapingError

JSON = "application/json"
CREATED = 201

Answerer = Callable[[Request | Problem, Reply], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Front:
    """Sends a request to the session desk or to the API."""

    audience: str
    session_requests: SessionRequests
    api: Answerer = field(repr=False)
    receipts: Receipts = field(repr=False)
    taken: TakenRequests = field(default_factory=TakenRequests, repr=False)

    async def answer(self, opened: Opened, reply: SealedReply) -> None:
        """Answer one request; what cannot be answered gets an error document."""
        request = opened.request
        if isinstance(request, Problem):
            await self.api(request, reply)
            return
        try:
            self._check_origin(opened, request)
            if request.path == SESSION_PATH:
                document = await self.session_requests.document(opened, request)
                await reply.whole(CREATED, JSON, document)
                return
            _shape(request, reply)
            kept = self.receipts.reply_for(request, reply)
            self._take(request)
        except ApiError as error:
            await reply.whole(error.status, JSON, error.body, retry_after_seconds=error.retry_after_seconds)
            return
        await self.api(request, kept)

    def _check_origin(self, opened: Opened, request: Request) -> None:
        """Whoever opens a session has read the claims, and means the origin in them (wire.md 6.1).

        Other OHTTP clients know only an epoch key, and name whatever they reached it by (wire.md 8.1): the
        key itself is what binds them to this enclave.
        """
        if (request.session or request.path == SESSION_PATH) and opened.origin != self.audience:
            raise ApiError(400, "the request is for another origin", code="wrong_origin")

    def _take(self, request: Request) -> None:
        try:
            self.taken.take(request)
        except RepeatedError:
            message = "a request with this idempotency key was taken before"
            raise ApiError(409, message, code="repeated_request") from None


def _shape(request: Request, reply: SealedReply) -> None:
    streamed = wants_stream(request)
    reply.shape(DEFAULT, streamed=streamed)
    try:
        reply.shape(wanted_shaping(request), streamed=streamed)
    except ShapingError:
        raise ApiError(400, "the shaping asked for does not exist", code="invalid_shaping") from None
