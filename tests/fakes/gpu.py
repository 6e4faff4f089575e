# SPDX-License-Identifier: Apache-2.0
"""A GPU of our own: a chain in NVIDIA's form under a root of our own, and reports of SPDM 1.1."""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha384

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.fakes.hardware import NOW

NAMES = ("Fake GPU root", "Fake GPU identity", "Fake GPU BROM", "Fake GPU firmware")
USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
AUTHORITY = ("key_agreement", "key_cert_sign", "crl_sign")
FIRMWARE = sha384(b"firmware of a fake GPU").digest()
NONCE = bytes(range(32))
START, END = datetime.fromtimestamp(NOW - 1000, UTC), datetime.fromtimestamp(NOW + 1000, UTC)


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """A key for each name."""
    assert name
    return ec.generate_private_key(ec.SECP384R1())


def spki(name: str) -> bytes:
    """The public key of a name."""
    return key(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def identity(
    firmware: bytes = FIRMWARE,
    version: int = 1,
    algorithm: str = "0609608648016503040202",
    after_digest: bytes = b"",
    after_identity: bytes = b"",
) -> bytes:
    """The extension that says whose firmware a leaf's key belongs to."""
    digest = bytes.fromhex(algorithm) + b"\x04" + bytes([len(firmware)]) + firmware + after_digest
    content = bytes((2, 1, version)) + spki(NAMES[2]) + b"\x30" + bytes([len(digest)]) + digest
    content += after_identity
    return b"\x30\x81" + bytes([len(content)]) + content


@dataclass(frozen=True)
class ChainFields:
    """What to spoil in a chain."""

    extension: bytes | None = None
    leaf_is_authority: bool = False
    leaf_uses: tuple[str, ...] = ("digital_signature",)
    signer: str = NAMES[2]
    authority: bool = True


@cache
def chain(fields: ChainFields = ChainFields()) -> tuple[bytes, ...]:
    """Leaf first."""
    issuers = {name: NAMES[max(index - 1, 0)] for index, name in enumerate(NAMES)}
    made = [_certificate(name, issuers[name], fields) for name in NAMES]
    return tuple(reversed(made))


def _certificate(name: str, issuer: str, fields: ChainFields) -> bytes:
    leaf = name == NAMES[-1]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key(name).public_key())
        .serial_number(7)
        .not_valid_before(START)
        .not_valid_after(END)
        .add_extension(_usage(fields.leaf_uses if leaf else AUTHORITY), critical=True)
    )
    authority = fields.leaf_is_authority if leaf else fields.authority or name == NAMES[0]
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if leaf:
        extension = identity() if fields.extension is None else fields.extension
        if extension:
            object_identifier = x509.ObjectIdentifier("2.23.133.5.4.1")
            builder = builder.add_extension(
                x509.UnrecognizedExtension(object_identifier, extension), critical=False
            )
    signer = fields.signer if leaf else issuer
    return builder.sign(key(signer), SHA384()).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(uses: tuple[str, ...]) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in uses for name in USES})


def opaque(firmware: bytes = FIRMWARE) -> bytes:
    """NVIDIA's fields."""
    fields = {3: b"550.90.07\x00", 6: bytes.fromhex("009f009601000000"), 20: firmware}
    return b"".join(struct.pack("<HH", number, len(value)) + value for number, value in fields.items())


@dataclass(frozen=True)
class ReportFields:
    """A report's fields, for `dataclasses.replace` to spoil one of them."""

    head: bytes = bytes.fromhex("11e001ff")
    nonce: bytes = NONCE
    answer: bytes = bytes.fromhex("1160")
    blocks: tuple[tuple[int, int, bytes], ...] = ((1, 1, bytes(48)), (2, 1, bytes([2]) * 48))
    count: int = 2
    opaque: bytes = b""
    signer: str = NAMES[-1]
    tail: bytes = b""

    def encode(self) -> bytes:
        """Request, answer and signature."""
        blocks = b"".join(
            struct.pack("<BBHBH", index, form, len(value) + 3, 1, len(value)) + value
            for index, form, value in self.blocks
        )
        fields = self.opaque or opaque()
        signed = (
            (self.head + self.nonce + b"\x00")
            + (self.answer + b"\x00\x00" + bytes([self.count]) + len(blocks).to_bytes(3, "little"))
            + (blocks + bytes(32) + struct.pack("<H", len(fields)) + fields)
        )
        r, s = decode_dss_signature(key(self.signer).sign(signed, ec.ECDSA(SHA384())))
        return signed + r.to_bytes(48, "big") + s.to_bytes(48, "big") + self.tail
