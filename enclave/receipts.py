# SPDX-License-Identifier: Apache-2.0
"""Signs what was done for a request whose client asked for a receipt (docs/spec/receipts.md).

The receipt leaves inside the encrypted answer: in the head of a whole one, in a comment at the end of a
stream. Only the answer of a generation has one; errors and lists have none.
"""

import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.api.account import Account
from enclave.api.errors import ApiError
from enclave.api.routes import Reply
from enclave.attester import Identity
from enclave.rotation import Published
from enclave.session import Request
from wire import receipt as form
from wire.receipt import ContentDigest, Receipt, ReceiptFormError, Wish
from wire.strict_json import encode_base64url

MARK = form.DONE + form.EVENT_END

# Nothing of what else the enclave does reaches the arithmetic of one sequence (docs/engine.md). The number of
# threads does, and is in the configuration. Across kinds of processor llama.cpp promises nothing.
REPEATABLE = "same release and configuration, same kind of processor"
# Earlier tokens of a session were decoded in other groups than one prompt's are, and what is remembered of it
# depends on time and on others. A time limit ends an answer the sooner, the more else there is to do.
FROM_SESSION = "not promised: it went on from what the session remembered"
CUT_SHORT = "not promised: the time limit ended it"


class HeadedReply(Reply, Protocol):
    """A reply whose head can hold one field more."""

    def add_field(self, name: str, value: str) -> None:
        """Have a field in the head, which has not left yet."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """The key for receipts, made at start, and what this enclave is."""

    key: Ed25519PrivateKey = field(repr=False)
    identity: Identity
    published: Published

    def reply_for(self, request: Request, reply: HeadedReply) -> Reply:
        """The reply itself, or one that adds the receipt that was asked for. Raises ApiError."""
        value = request.fields.get(form.RECEIPT_FIELD)
        if value is None:
            return reply
        try:
            wish = form.parse_wish(value)
        except ReceiptFormError as error:
            raise ApiError(400, f"{form.RECEIPT_FIELD}: {error}", code="invalid_receipt_request") from None
        wish = Wish(wish.time, wish.nonce or secrets.token_bytes(form.NONCE_SIZE))
        return _ReceiptReply(self.issuer(wish, request.content), reply)

    def issuer(self, wish: Wish, content: bytes) -> "Issuer":
        """What signs the receipt of one request."""
        attested = self.published.attested
        return Issuer(self, wish, sha256(content).digest(), attested.key_list, attested.measurement)


@dataclass(frozen=True, slots=True)
class Issuer:
    """The receipt of one request, but for the answer; of the keys it keeps those that were in force."""

    receipts: Receipts
    wish: Wish = field(repr=False)
    request: bytes = field(repr=False)
    key_list: bytes = field(repr=False)
    measurement: bytes

    def issue(self, answer: bytes, account: Account) -> str:
        """The signed receipt in base64url; `answer` is the SHA-256 of the answer's content."""
        identity, nonce = self.receipts.identity, self.wish.nonce
        payload = Receipt(
            request=form.salted(form.REQUEST_LABEL, nonce, self.request),
            answer=form.salted(form.ANSWER_LABEL, nonce, answer),
            text=form.salted(form.TEXT_LABEL, nonce, account.text),
            model=identity.model,
            measurement=self.measurement,
            release=identity.release,
            configuration=identity.configuration,
            keys=sha256(self.key_list).digest(),
            nonce=form.commitment(nonce),
            time=self.wish.time,
            sampling=_numbers(account),
            prompt_tokens=account.prompt_tokens,
            completion_tokens=account.completion_tokens,
            finish=account.finish,
            repeatable=_repeatable(account),
        ).encode()
        key = self.receipts.key
        public = key.public_key().public_bytes_raw()
        return encode_base64url(form.encode_signed(payload, public, nonce, key.sign(form.to_sign(payload))))


def _repeatable(account: Account) -> str:
    """Under which conditions the same request gives the same tokens."""
    if account.cached_tokens:
        return FROM_SESSION
    return CUT_SHORT if account.cut_short else REPEATABLE


def _numbers(account: Account) -> dict[str, int | str]:
    """The settings that are numbers. What else there is, the client wrote; the request's digest has it."""
    settings: dict[str, int | str] = {"max_tokens": account.max_tokens}
    for name, value in msgspec.structs.asdict(account.sampling).items():
        if isinstance(value, float):
            settings[name] = repr(value)
        elif isinstance(value, int) and value >= 0:
            settings[name] = int(value)
    return settings


class _ReceiptReply:
    """A reply that brings a receipt."""

    def __init__(self, issuer: Issuer, reply: HeadedReply) -> None:
        self._issuer, self._reply = issuer, reply
        self._account: Account | None = None
        self._digest = ContentDigest(stream=True)

    def account(self, account: Account) -> None:
        """The generation has ended."""
        self._account = account

    async def whole(
        self, status: int, content_type: str, content: bytes, *, retry_after_seconds: int = 0
    ) -> None:
        """Send a complete answer, with its receipt in the head."""
        if self._account is not None:
            receipt = self._issuer.issue(sha256(content).digest(), self._account)
            self._reply.add_field(form.RECEIPT_FIELD, receipt)
        await self._reply.whole(status, content_type, content, retry_after_seconds=retry_after_seconds)

    async def begin(self, status: int, content_type: str) -> None:
        """Begin a streamed answer."""
        await self._reply.begin(status, content_type)

    async def write(self, content: bytes) -> None:
        """Send a piece; before the mark of the end the receipt, since some clients read no further."""
        self._digest.update(content)
        if self._account is not None and content.endswith(MARK):
            content = content.removesuffix(MARK) + self._comment(self._account) + MARK
            self._account = None
        await self._reply.write(content)

    async def end(self) -> None:
        """End it properly, with the receipt last where the stream has no mark of its end."""
        if self._account is not None:
            await self._reply.write(self._comment(self._account))
        await self._reply.end()

    def _comment(self, account: Account) -> bytes:
        receipt = self._issuer.issue(self._digest.digest(), account)
        return form.COMMENT + receipt.encode() + form.EVENT_END
