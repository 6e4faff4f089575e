# SPDX-License-Identifier: Apache-2.0
"""The Encrypted HTTP Body Protocol, for clients that speak nothing else (wire.md 8.2). No I/O and no clock.

Off unless the configuration says `ehbp = true`, and weaker than all else here. Path, fields, status and the
kind of answer are in clear; nothing tells a cut answer or a cut request from a whole one; the key is not
post-quantum and not forward secret within its ten minutes. It is a key of its own, so that nothing sealed for
this protocol opens in the other. Decision 0007 says what that means.

    body on the link   = enc(32), { u32be length, ciphertext }*
    answer on the link = nonce(32), { u32be length, ciphertext }*
"""

import os
from dataclasses import dataclass, field

from enclave.keys import GRACE_SECONDS, Epoch, ReplayError
from enclave.session import MAX_CONTENT_BYTES, Aborted, OuterAnswer, Refused, Request
from wire import hpke, ohttp
from wire.aead import CountingCipher

KEYS_PATH = "/.well-known/hpke-keys"
PATH_PREFIX = "/ehbp"
SUITE = hpke.Suite(hpke.Kem.X25519, hpke.Kdf.HKDF_SHA256, hpke.Aead.AES_256_GCM)
KEY_ID = 0
_REQUEST_INFO, _EXPORT_LABEL = b"ehbp request", b"ehbp response"
_SECRET_SIZE = NONCE_SIZE = 32
_LENGTH_SIZE, _TAG_SIZE = 4, 16


class BodyKeys:
    """The key in force and, for a short time, the one it replaced."""

    def __init__(self) -> None:
        self._current: Epoch | None = None
        self._retiring: Epoch | None = None
        self._retired_at = 0.0

    def renew(self, now: float) -> None:
        """Replace a key that is worn, and erase one whose time is over."""
        if self._current is None or self._current.is_worn(now):
            self._erase_retiring()
            self._retiring, self._retired_at = self._current, now
            private_key = hpke.generate(SUITE.kem)
            configuration = ohttp.KeyConfiguration(
                KEY_ID, SUITE.kem, private_key.public_key, ((SUITE.kdf, SUITE.aead),)
            )
            self._current = Epoch(0, now, {KEY_ID: private_key}, configuration.encode())
        if now - self._retired_at >= GRACE_SECONDS:
            self._erase_retiring()

    def configuration(self) -> bytes:
        """The key configuration in force, bare as this protocol wants it; empty before the first."""
        return self._current.key_list if self._current else b""

    def living(self) -> list[Epoch]:
        """The keys to try: requests do not say which they were sealed to."""
        return [epoch for epoch in (self._current, self._retiring) if epoch is not None]

    def _erase_retiring(self) -> None:
        if self._retiring is not None:
            self._retiring.erase()
            self._retiring = None


@dataclass(frozen=True, slots=True)
class OpenedBody:
    """A request whose body was authentic as far as it came, and the means to seal the answer."""

    request: Request
    answer: "BodySealer"


class BodyReceiver:
    """Takes the body of one request as it arrives."""

    def __init__(self, keys: BodyKeys, path: str, content_type: str) -> None:
        self._keys, self._path, self._content_type = keys, path, content_type
        self._buffer = bytearray()
        self._encapsulated = b""
        self._context: hpke.RecipientContext | None = None
        self._content = bytearray()

    @property
    def authenticated(self) -> bool:
        """Whether a first piece has opened."""
        return self._context is not None

    def receive(self, data: bytes, now: float) -> None:
        """Take some bytes. Raises Refused before authentication and Aborted after it."""
        self._keys.renew(now)
        self._buffer += data
        if not self._encapsulated:
            if len(self._buffer) < SUITE.kem.enc_size:
                return
            self._encapsulated = self._take(SUITE.kem.enc_size)
        while (size := self._next_size()) is not None and len(self._buffer) >= _LENGTH_SIZE + size:
            self._take(_LENGTH_SIZE)
            if size:
                self._content += self._open(self._take(size))

    def end(self) -> OpenedBody:
        """The body is complete, as far as anybody can tell. Raises Refused and Aborted."""
        if self._context is None:
            raise Refused(OuterAnswer.MALFORMED)
        if self._buffer:
            raise Aborted
        fields = {"content-type": self._content_type}
        request = Request("POST", self._path, fields, bytes(self._content))
        return OpenedBody(request, BodySealer(self._context, self._encapsulated))

    def abandon(self) -> None:
        """Nothing more will come; nothing was claimed."""

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _next_size(self) -> int | None:
        """The size of the next piece, checked before anything is kept for it."""
        if len(self._buffer) < _LENGTH_SIZE:
            return None
        size = int.from_bytes(self._buffer[:_LENGTH_SIZE], "big")
        if len(self._content) + size > MAX_CONTENT_BYTES + _TAG_SIZE:
            raise Aborted if self.authenticated else Refused(OuterAnswer.TOO_LARGE)
        return size

    def _open(self, sealed: bytes) -> bytes:
        if self._context is None:
            return self._open_first(sealed)
        try:
            return self._context.open(sealed)
        except hpke.OpenError:
            raise Aborted from None

    def _open_first(self, sealed: bytes) -> bytes:
        """Try the keys, and note in the same step that this encapsulated key was used."""
        for epoch in self._keys.living():
            try:
                epoch.check_unused(self._encapsulated)
                epoch.count()
                context = hpke.setup_recipient(SUITE, epoch.keys[KEY_ID], self._encapsulated, _REQUEST_INFO)
                opened = context.open(sealed)
            except ReplayError:
                raise Refused(OuterAnswer.MALFORMED) from None
            except hpke.OpenError:
                continue
            epoch.remember(self._encapsulated)
            self._context = context
            return opened
        raise Refused(OuterAnswer.UNKNOWN_BODY_KEY)


@dataclass(slots=True)
class BodySealer:
    """Seals the answer to one request, piece by piece."""

    nonce: bytes
    _cipher: CountingCipher = field(repr=False)

    def __init__(self, context: hpke.RecipientContext, encapsulated: bytes) -> None:
        """Derive the answer's keys from the request's, with a random nonce."""
        self.nonce = os.urandom(NONCE_SIZE)
        secret = context.export(_EXPORT_LABEL, _SECRET_SIZE)
        pseudorandom_key = hpke.extract(encapsulated + self.nonce, secret)
        key = hpke.expand(pseudorandom_key, b"key", SUITE.aead.key_size)
        base_nonce = hpke.expand(pseudorandom_key, b"nonce", SUITE.aead.nonce_size)
        self._cipher = CountingCipher(SUITE.aead, key, base_nonce)

    def seal(self, data: bytes) -> bytes:
        """Return the next piece with its length; nothing for nothing."""
        if not data:
            return b""
        sealed = self._cipher.seal(data, b"")
        return len(sealed).to_bytes(_LENGTH_SIZE, "big") + sealed
