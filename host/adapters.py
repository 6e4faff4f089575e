# SPDX-License-Identifier: Apache-2.0
"""Routes for clients of other protocols, for a host whose configuration names them (wire.md 8)."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from host import ehbp, relay, tng
from host.gateway import problem_response, public_document, relayed
from host.health import claims_expire_at
from host.link import LinkError, NoEnclaveError

JSON = "application/json"


def routes(link: str, adapters: Sequence[str]) -> list[Route]:
    """The routes of the protocols that the configuration names."""
    made = {"tng": tng_routes, "ehbp": ehbp_routes}
    return [route for adapter in adapters for route in made[adapter](link)]


def tng_routes(link: str) -> list[Route]:
    """One POST to the root, told apart by a header."""

    async def key_config() -> Response:
        try:
            keys = await public_document(link, relay.KEY_LIST_PATH)
            expires_at = claims_expire_at(await public_document(link, relay.EVIDENCE_PATH))
        except NoEnclaveError:
            return problem_response(relay.Problem.NO_ENCLAVE)
        except LinkError:
            return problem_response(relay.Problem.BROKEN_LINK)
        return Response(tng.key_config(keys, expires_at), media_type=JSON, headers=dict([relay.NOT_STORED]))

    async def root(request: Request) -> Response:
        match request.headers.get(tng.API_FIELD):
            case tng.Api.KEY_CONFIG.value:
                return await key_config()
            case tng.Api.TUNNEL.value:
                return relayed(link, request, relay.KEY_LIST_PATH, tng.Tunnel())
            case _:
                return problem_response(relay.Problem.NOT_FOUND)

    return [Route("/", root, methods=["POST"])]


def ehbp_routes(link: str) -> list[Route]:
    """The keys, and every POST below `/v1` that names its encapsulated key."""

    async def keys(request: Request) -> Response:
        return relayed(link, request, ehbp.KEYS_PATH, relay.Dialect())

    async def body(request: Request) -> Response:
        try:
            dialect = ehbp.Body(request.headers.get(ehbp.ENCAPSULATED_KEY_FIELD, ""))
        except relay.DialectError:
            return problem_response(relay.Problem.BAD_DIALECT)
        return relayed(link, request, ehbp.LINK_PREFIX + request.url.path, dialect)

    return [Route(ehbp.KEYS_PATH, keys), Route("/v1/{rest:path}", body, methods=["POST"])]
