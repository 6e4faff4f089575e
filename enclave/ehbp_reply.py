# SPDX-License-Identifier: Apache-2.0
"""Serves the Encrypted HTTP Body Protocol: its key, its answers, and its key to clients that verify."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from enclave.api.account import Account
from enclave.api.routes import Reply
from enclave.ehbp import KEYS_PATH, BodyKeys, BodySealer, OpenedBody
from enclave.session import Problem, Request
from enclave.shaping import Send
from wire import frames, ohttp, padding

JSON = "application/json"

Answerer = Callable[[Request | Problem, Reply], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BodyService:
    """The keys of this protocol, and the API behind them."""

    api: Answerer = field(repr=False)
    keys: BodyKeys = field(default_factory=BodyKeys, repr=False)

    async def answer(self, opened: OpenedBody, reply: "BodyReply") -> None:
        """Have one request answered."""
        await self.api(opened.request, reply)

    async def publish_inside(self, request: Request | Problem, reply: Reply) -> None:
        """Tell the key to a client that has verified the enclave: from there, it is known whose key it is."""
        if isinstance(request, Request) and (request.method, request.path) == ("GET", KEYS_PATH):
            await reply.whole(200, ohttp.KEYS, self.keys.configuration())
        else:
            await self.api(request, reply)


class BodyReply:
    """A reply whose content alone leaves sealed."""

    complete = False

    def __init__(self, send: Send, sealer: BodySealer) -> None:
        self._send, self._sealer = send, sealer
        self.status = 0

    async def whole(
        self,
        status: int,
        content_type: str,
        content: bytes,
        *,
        retry_after_seconds: int = 0,  # noqa: ARG002 - a field in clear, which the host would have to add
    ) -> None:
        """Send a complete answer. Spaces after a JSON document mean nothing, and hide its length."""
        if content_type == JSON:
            content = content.ljust(padding.padded_size(len(content)))
        await self.begin(status, content_type)
        await self.write(content)

    def account(self, account: Account) -> None:
        """Without a head inside the encryption there is no receipt."""

    async def begin(self, status: int, content_type: str) -> None:
        """Send the head, in clear, and the nonce."""
        self.status = status
        await self._send(
            frames.encode_answer_head(frames.AnswerHead(status, content_type)) + self._sealer.nonce
        )

    async def write(self, content: bytes) -> None:
        """Send a piece."""
        await self._send(self._sealer.seal(content))

    async def end(self) -> None:
        """The protocol has no end."""

    async def drain(self) -> None:
        """Nothing is held back."""

    async def stop(self) -> None:
        """Nothing is under way."""
