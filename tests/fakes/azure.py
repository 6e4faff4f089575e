# SPDX-License-Identifier: Apache-2.0
"""A virtual TPM and a paravisor of our own, in the formats of Azure, over any hardware report."""

import base64
import json
import struct
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256, sha384

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from attestation.azure.checks import AzureEvidence, Expected, HardwareChecks
from attestation.azure.hcl import Hardware
from attestation.azure.tdreport import LAYOUT
from attestation.azure.tpm import Scheme, Signature
from attestation.simulated.snp import ReportFields
from attestation.snp.report import REPORT_SIZE
from attestation.verdict import Check
from wire.strict_json import Json

NONCE = b"a nonce of today"
PASSED = Check("stand-in for the hardware's checks", ok=True, expected="", found="", why="")
REGISTERS = {number: bytes([number]) * 32 for number in range(24)}


@cache
def attestation_key() -> rsa.RSAPrivateKey:
    """The virtual TPM's key: one for all tests, because making one takes time."""
    return rsa.generate_private_key(65537, 2048)


def key_member(key: rsa.RSAPrivateKey | None = None, **changed: Json) -> dict[str, Json]:
    """The key as the runtime data write it."""
    numbers = (key or attestation_key()).public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(size, "big")).rstrip(b"=").decode()
    member: dict[str, Json] = {
        "kid": "HCLAkPub",
        "key_ops": ["sign"],
        "kty": "RSA",
        "e": "AQAB",
        "n": modulus,
    }
    return {**member, **changed}


def runtime_data(**changed: Json) -> bytes:
    """The paravisor's JSON."""
    members: dict[str, Json] = {
        "keys": [key_member(), {"kid": "HCLEkPub"}],
        "vm-configuration": {"secure-boot": True, "vmUniqueId": "7DF7B373"},
        "user-data": "AB" * 64,
    }
    return json.dumps({**members, **changed}, separators=(",", ":")).encode()


def tdreport(report_data: bytes) -> bytes:
    """A TDREPORT whose inner hashes are right; its MAC is nobody's."""
    report = bytearray(1024)
    report[:4] = bytes.fromhex("81000000")
    for number, (name, (offset, size)) in enumerate(LAYOUT.items()):
        report[offset : offset + size] = report_data if name == "report_data" else bytes([number + 1]) * size
    report[32:80] = sha384(report[256:495]).digest()
    report[80:128] = sha384(report[512:]).digest()
    return bytes(report)


def snp_report(report_data: bytes, level: int = 0) -> bytes:
    """An SNP report that nobody signed."""
    fields = ReportFields(measurement=bytes(48), chip_id=bytes(64), report_data=report_data, vmpl=level)
    return fields.encode().ljust(REPORT_SIZE, b"\x00")


def hcl_blob(runtime: bytes, hardware: Hardware = Hardware.SEV_SNP, report: bytes | None = None) -> bytes:
    """A blob with this report, or one that nobody signed, bound to the runtime data."""
    report_data = sha256(runtime).digest() + bytes(32)
    if report is None:
        report = tdreport(report_data) if hardware is Hardware.TDX else snp_report(report_data)
    header = struct.pack("<4sIIII12s", b"HCLA", 2, 1236 + len(runtime), 2, 0, b"")
    request = struct.pack("<IIIII", 20 + len(runtime), 1, hardware, 1, len(runtime))
    return (header + report.ljust(1184, b"\x00") + request + runtime).ljust(2600, b"\x00")


@dataclass(frozen=True)
class QuoteFields:
    """A quote's fields, for `dataclasses.replace` to spoil one of them."""

    magic: int = 0xFF544347
    kind: int = 0x8018
    signer: bytes = bytes(34)
    nonce: bytes = NONCE
    clock: bytes = struct.pack(">QIIBQ", 7, 3, 1, 1, 9)
    banks: tuple[tuple[int, bytes], ...] = ((0x000B, bytes.fromhex("ffffff")),)
    digest: bytes = field(default_factory=lambda: sha256(b"".join(REGISTERS.values())).digest())
    tail: bytes = b""

    def encode(self) -> bytes:
        """TPMS_ATTEST."""
        banks = b"".join(struct.pack(">HB", bank, len(bits)) + bits for bank, bits in self.banks)
        return (
            struct.pack(">IH", self.magic, self.kind)
            + sized(self.signer)
            + sized(self.nonce)
            + self.clock
            + struct.pack(">I", len(self.banks))
            + banks
            + sized(self.digest)
            + self.tail
        )


def sized(content: bytes) -> bytes:
    """A TPM2B structure."""
    return len(content).to_bytes(2, "big") + content


def sign(message: bytes, scheme: Scheme = Scheme.RSASSA) -> Signature:
    """The virtual TPM's signature."""
    how: padding.AsymmetricPadding = padding.PKCS1v15()
    if scheme is Scheme.RSAPSS:
        how = padding.PSS(padding.MGF1(SHA256()), 32)
    return Signature(scheme, attestation_key().sign(message, how, SHA256()))


def evidence(hardware: Hardware = Hardware.SEV_SNP, td_quote: bytes = b"") -> AzureEvidence:
    """Good evidence of which each test spoils one thing."""
    quote = QuoteFields().encode()
    return AzureEvidence(hcl_blob(runtime_data(), hardware), quote, sign(quote), REGISTERS, td_quote)


def expected(checked: bytes) -> Expected:
    """What accepts `evidence()`, where the hardware's checks were made of these bytes."""
    return Expected(NONCE, bytes([0xAB]) * 64, {4: REGISTERS[4]}, HardwareChecks(checked, (PASSED,)))


def failures(checks: tuple[Check, ...]) -> set[str]:
    """The names of the checks that failed, made or not."""
    return {check.name for check in checks if not (check.ok and check.evaluated)}


def not_made(checks: tuple[Check, ...]) -> set[str]:
    """The names of the checks that could not be made."""
    return {check.name for check in checks if not check.evaluated}


def made(checks: tuple[Check, ...]) -> set[str]:
    """The names of the checks that passed."""
    return {check.name for check in checks if check.ok and check.evaluated}
