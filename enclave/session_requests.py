# SPDX-License-Identifier: Apache-2.0
"""Opens sessions: keys that serve one request each, and evidence for them (wire.md 6.5)."""

import time
from dataclasses import dataclass, field

from enclave.api.errors import ApiError
from enclave.freshness import Batches, NoReportError
from enclave.rotation import Published
from enclave.session import Opened, Request
from enclave.sessions import Sessions, make_session
from wire import hpke, merkle
from wire.session import (
    MAX_SESSION_REQUESTS,
    MAX_TTL_SECONDS,
    ROUTE_TAG_SIZE,
    SessionMessageError,
    SessionRequest,
    SessionResponse,
    decode_request,
)


@dataclass(frozen=True, slots=True)
class SessionRequests:
    """Answers session requests. `receipt_key` is the claim `rct`: its beginning is the route tag."""

    sessions: Sessions
    batches: Batches = field(repr=False)
    published: Published
    receipt_key: bytes

    async def document(self, opened: Opened, request: Request) -> bytes:
        """The response to a session request. The session is in force with it.

        Raises ApiError for a request that is not exactly one, and where there is no report.
        """
        wanted = self._read(opened, request)
        session = make_session(self.receipt_key[:ROUTE_TAG_SIZE], wanted.keys)
        evidence = self.published.attested.document
        if wanted.fresh:
            leaf = merkle.leaf(wanted.nonce, session.key_list, opened.encapsulated)
            try:
                evidence = await self.batches.evidence(leaf)
            except NoReportError:
                raise ApiError(503, "the hardware gave no report", code="no_report") from None
        self.sessions.add(session, time.monotonic())
        response = SessionResponse(
            session.identifier, session.key_list, MAX_TTL_SECONDS, MAX_SESSION_REQUESTS, evidence
        )
        return response.encode()

    def _read(self, opened: Opened, request: Request) -> SessionRequest:
        if request.method != "POST":
            raise ApiError(405, "a session is opened with POST", code="method_not_allowed")
        if request.session or opened.kem is not hpke.Kem.X_WING:
            message = "a session is opened under the hybrid key of an epoch"
            raise ApiError(400, message, code="wrong_key")
        try:
            return decode_request(request.content)
        except SessionMessageError:
            message = "the session request is not as the specification says"
            raise ApiError(400, message, code="invalid_session_request") from None
