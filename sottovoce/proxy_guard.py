# SPDX-License-Identifier: Apache-2.0
"""Who may use the local endpoint: programs on this machine, and no web page that a browser here has open.

1. The request's Host is `localhost` or an address. Any other name may be a stranger's, led here by DNS.
2. A page of another origin is refused, unless that origin was allowed by name.
3. Where a token is set, what goes to the enclave has to bring it. The token itself stays here.
"""

import hmac
import ipaddress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

API_PREFIX: Final = "/v1/"
OWN_SITE: Final = frozenset({"", "none", "same-origin"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed beyond the programs of this machine. A token of None asks for none."""

    token: str | None = field(default=None, repr=False)
    origins: frozenset[str] = frozenset()


class Guard:
    """Refuses requests before anything reads them."""

    def __init__(self, application: ASGIApp, rules: Rules) -> None:
        self._application, self._rules = application, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with an error, or pass the request on without the token."""
        if scope["type"] != "http":  # a server without lifespan and web sockets sends nothing else
            return
        headers = MutableHeaders(scope=scope)
        refusal = self._refusal(headers, scope["method"], scope["path"])
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if self._rules.token is not None:
            del headers["authorization"]
        await self._application(scope, receive, send)

    def _refusal(self, headers: Headers, method: str, path: str) -> Response | None:
        """Steps 1 to 3."""
        host = headers.get("host", "")
        if not is_local_name(host):
            return error(
                HTTPStatus.MISDIRECTED_REQUEST, "wrong_host", "call this endpoint by localhost or address"
            )
        if not self._is_own(headers, host, path):
            return error(
                HTTPStatus.FORBIDDEN, "wrong_origin", "web pages may not use this; see --allow-origin"
            )
        if path.startswith(API_PREFIX) and method != "OPTIONS" and not self._has_token(headers):
            return error(HTTPStatus.UNAUTHORIZED, "wrong_token", "the token of this endpoint is the API key")
        return None

    def _is_own(self, headers: Headers, host: str, path: str) -> bool:
        """Whether no page of another origin asks. Opening the page itself by a link is harmless."""
        origin = headers.get("origin")
        if origin is None:
            return path == "/" or headers.get("sec-fetch-site", "") in OWN_SITE
        return origin == f"http://{host}" or origin in self._rules.origins

    def _has_token(self, headers: Headers) -> bool:
        if self._rules.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self._rules.token.encode())
        return same and scheme.lower() == "bearer"


def is_local_name(host: str) -> bool:
    """Whether a Host field names `localhost` or an address, with or without a port."""
    name, _, port = host.rpartition(":")
    if not port.isdecimal() or not name:
        name = host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def error(status: int, code: str, message: str, *, retry: bool = False) -> Response:
    """An error of this endpoint itself, in the OpenAI API's form."""
    document = {"error": {"message": message, "type": "sottovoce_error", "param": None, "code": code}}
    return JSONResponse(document, status, {"x-should-retry": "true" if retry else "false"})
