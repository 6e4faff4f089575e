# SPDX-License-Identifier: Apache-2.0
"""The simulated vendor: a root, an intermediate and one chip, kept in a folder and made at first use.

Whoever can read the folder can forge any report of this vendor. That is why nothing accepts it unless a
policy names its fingerprint.
"""

import errno
import hmac
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256, sha384, sha512
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from attestation.simulated import certificates
from attestation.simulated.snp import TCB, ReportFields, SimulatedGuest
from attestation.snp.report import ChipId, Measurement
from attestation.x509 import RSA_BITS, RSA_EXPONENT, parse_certificate

ROOT_KEY: Final = "ark.key"
ROOT_CERTIFICATE: Final = "ark.der"
INTERMEDIATE_KEY: Final = "ask.key"
INTERMEDIATE_CERTIFICATE: Final = "ask.der"
CHIP_SEED: Final = "chip.seed"

MEASURED_PACKAGES: Final = ("attestation", "enclave", "models", "wire")
MEASURED_SUFFIXES: Final = frozenset({".py", ".toml"})


class VendorError(Exception):
    """The folder does not hold a simulated vendor."""


@dataclass(frozen=True, slots=True)
class SimulatedVendor:
    """A vendor's folder. Private keys are read when they are needed, and not kept."""

    folder: Path
    root_fingerprint: bytes
    chip_id: ChipId

    @staticmethod
    def open(folder: Path) -> "SimulatedVendor":
        """The vendor of a folder, made at first use; VendorError for a folder with something else in it.

        Making two RSA-4096 keys takes some seconds. Of several processes that start at once, one wins and the
        others use what it made.
        """
        if not folder.exists() or not any(folder.iterdir()):
            folder.parent.mkdir(parents=True, exist_ok=True)
            store(folder, _new_vendor())
        root = parse_certificate(_read(folder, ROOT_CERTIFICATE))
        return SimulatedVendor(folder, root.fingerprint, _chip_id(_read(folder, CHIP_SEED)))

    def power_on(self, measurement: bytes, *, now: int) -> SimulatedGuest:
        """Start a guest with this launch digest on the simulated machine, with certificates as of `now`."""
        chip_key = _chip_key(_read(self.folder, CHIP_SEED))
        leaf = certificates.leaf(
            chip_key.public_key(), self._key(INTERMEDIATE_KEY), tcb=TCB, chip_id=self.chip_id, now=now
        )
        return SimulatedGuest(
            chain=(leaf, _read(self.folder, INTERMEDIATE_CERTIFICATE), _read(self.folder, ROOT_CERTIFICATE)),
            crl=self.revocation_list(now=now),
            chip_id=self.chip_id,
            fields=ReportFields(
                measurement=measurement,
                chip_id=self.chip_id,
                report_id=sha256(self.chip_id + measurement).digest(),
            ),
            key=chip_key,
        )

    def revocation_list(self, *, now: int, revoked: tuple[int, ...] = ()) -> bytes:
        """The root's list of revoked serial numbers, valid for 30 days from `now`."""
        return certificates.revocation_list(self._key(ROOT_KEY), now=now, revoked=revoked)

    def _key(self, name: str) -> rsa.RSAPrivateKey:
        key = load_der_private_key(_read(self.folder, name), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise VendorError(f"expected an RSA key in {self.folder / name}")
        return key


def code_measurement(root: Path) -> Measurement:
    """SHA-384 over the code the measured image copies: paths and contents of four packages in `root`."""
    digest = sha384(b"sottovoce simulated launch")
    for package in MEASURED_PACKAGES:
        files = sorted(path for path in (root / package).rglob("*") if path.suffix in MEASURED_SUFFIXES)
        if not files:
            raise FileNotFoundError(f"no code in {root / package}")
        for path in files:
            for part in (path.relative_to(root).as_posix().encode(), path.read_bytes()):
                digest.update(len(part).to_bytes(8, "big") + part)
    return Measurement(digest.digest())


def store(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write everything to a folder beside it and rename that, so that no one ever sees a part."""
    prefix = f".{folder.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent, ignore_cleanup_errors=True) as name:
        made = Path(name)
        for file, content in files.items():
            _write(made / file, content)
        try:
            made.rename(folder)
        except OSError as error:
            # Another process was first, or the folder holds something else, which reading it will tell.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise


def _new_vendor() -> dict[str, bytes]:
    root_key, intermediate_key = (
        rsa.generate_private_key(public_exponent=RSA_EXPONENT, key_size=RSA_BITS) for _ in range(2)
    )
    return {
        ROOT_KEY: _encode_key(root_key),
        ROOT_CERTIFICATE: certificates.authority(
            certificates.ROOT_NAME,
            certificates.ROOT_SERIAL,
            root_key.public_key(),
            issuer=certificates.ROOT_NAME,
            issuer_key=root_key,
        ),
        INTERMEDIATE_KEY: _encode_key(intermediate_key),
        INTERMEDIATE_CERTIFICATE: certificates.authority(
            certificates.INTERMEDIATE_NAME,
            certificates.INTERMEDIATE_SERIAL,
            intermediate_key.public_key(),
            issuer=certificates.ROOT_NAME,
            issuer_key=root_key,
        ),
        CHIP_SEED: os.urandom(32),
    }


def _encode_key(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise VendorError(f"{folder} holds no simulated vendor: expected {name} in it") from error


def _chip_id(secret: bytes) -> ChipId:
    return ChipId(_derive(secret, b"chip id"))


def _chip_key(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """The chip's key at its patch levels: as on hardware, the same at every start and new after an update."""
    order = ec.SECP384R1().group_order
    scalar = int.from_bytes(_derive(secret, b"chip key" + TCB), "big") % (order - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP384R1())


def _derive(secret: bytes, label: bytes) -> bytes:
    return hmac.digest(secret, b"sottovoce simulated " + label, sha512)
