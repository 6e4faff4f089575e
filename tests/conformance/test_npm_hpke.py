# SPDX-License-Identifier: Apache-2.0
"""Two HPKE libraries in JavaScript against `wire.hpke`: three messages each way, and the exporter."""

import json
import secrets
from dataclasses import dataclass
from typing import TypedDict

import pytest
from typing_extensions import override

from tests.conformance.javascript import javascript
from wire import hpke

INFO, EXPORTER_CONTEXT = b"message/bhttp chunked request\0\x01\x64\x7a\0\x01\0\x02", b"message/bhttp response"
MESSAGES = [(b"", b"the first"), (b"associated", b""), (b"final", bytes(range(256)) * 20)]


class Result(TypedDict):
    """What a library sealed, opened and exported, in hexadecimal."""

    enc: str
    sealed: list[str]
    opened: list[str]
    exported: str
    exported_by_recipient: str


@dataclass(frozen=True, slots=True)
class Case:
    """A library and the suite that it runs."""

    library: str
    kem: hpke.Kem
    aead: hpke.Aead

    @override
    def __str__(self) -> str:
        return f"{self.library} {self.kem.name} {self.aead.name}"

    @property
    def suite(self) -> hpke.Suite:
        """The suite as ours."""
        return hpke.Suite(self.kem, hpke.Kdf.HKDF_SHA256, self.aead)


CASES = [
    Case("hpke", hpke.Kem.X25519, hpke.Aead.AES_128_GCM),
    Case("hpke", hpke.Kem.X25519, hpke.Aead.AES_256_GCM),
    Case("@panva/hpke-noble", hpke.Kem.X25519, hpke.Aead.CHACHA20_POLY1305),
    Case("@panva/hpke-noble", hpke.Kem.X_WING, hpke.Aead.AES_256_GCM),
    Case("@panva/hpke-noble", hpke.Kem.X_WING, hpke.Aead.CHACHA20_POLY1305),
    Case("@hpke/core", hpke.Kem.X25519, hpke.Aead.AES_128_GCM),
    Case("@hpke/core", hpke.Kem.X_WING, hpke.Aead.AES_128_GCM),
    Case("@hpke/core", hpke.Kem.X_WING, hpke.Aead.AES_256_GCM),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_directions_agree(case: Case) -> None:
    seed = secrets.token_bytes(32)  # of X25519 the key itself, of X-Wing what it is made from
    private_key = hpke.private_key_from_bytes(case.kem, seed)
    enc, sender = hpke.setup_sender(case.suite, private_key.public_key, INFO)
    work = {
        "library": case.library,
        "kem": case.kem,
        "aead": case.aead,
        "private_key": seed.hex(),
        "public_key": private_key.public_key.hex(),
        "info": INFO.hex(),
        "messages": [{"aad": aad.hex(), "text": text.hex()} for aad, text in MESSAGES],
        "exporter_context": EXPORTER_CONTEXT.hex(),
        "theirs": {"enc": enc.hex(), "sealed": [sender.seal(text, aad).hex() for aad, text in MESSAGES]},
    }
    results: list[Result] = json.loads(javascript("hpke.mjs", work=[work]))
    [result] = results
    assert [bytes.fromhex(text) for text in result["opened"]] == [text for _, text in MESSAGES]
    assert bytes.fromhex(result["exported_by_recipient"]) == sender.export(EXPORTER_CONTEXT, 32)
    recipient = hpke.setup_recipient(case.suite, private_key, bytes.fromhex(result["enc"]), INFO)
    for (aad, text), sealed in zip(MESSAGES, result["sealed"], strict=True):
        assert recipient.open(bytes.fromhex(sealed), aad) == text
    assert bytes.fromhex(result["exported"]) == recipient.export(EXPORTER_CONTEXT, 32)
