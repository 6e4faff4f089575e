# SPDX-License-Identifier: Apache-2.0
"""The simulated vendor: roots, intermediates and one chip per product, kept in a folder, made at first use.

Whoever can read the folder can forge any report of this vendor. That is why nothing accepts it unless a
policy names its fingerprint.
"""

import os
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256, sha384
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from attestation.simulated import amd, certificates
from attestation.simulated import seed as seeds
from attestation.simulated.amd import SnpSetting
from attestation.simulated.certificates import Authority, LeafFields
from attestation.simulated.folder import VendorError, keep, read, store
from attestation.simulated.intel import SimulatedIntel
from attestation.simulated.snp import ReportFields, SimulatedGuest, of_product
from attestation.simulated.window import CURRENT
from attestation.snp.product import Product
from attestation.snp.report import ChipId, Measurement, SigningKey
from attestation.x509 import RSA_BITS, RSA_EXPONENT, parse_certificate

__all__ = ["SimulatedVendor", "VendorError", "code_measurement", "store"]

ROOT: Final = "ark"
INTERMEDIATES: Final = {SigningKey.VCEK: "ask", SigningKey.VLEK: "asvk"}
CHIP_SEED: Final = "chip.seed"

MEASURED_PACKAGES: Final = ("attestation", "enclave", "models", "wire")
MEASURED_SUFFIXES: Final = frozenset({".py", ".toml"})


@dataclass(frozen=True, slots=True)
class SimulatedVendor:
    """A vendor's folder. Private keys are read when they are needed, and not kept.

    `root_fingerprint` and `chip_id` are those of the Genoa machine, which serves where nothing else is asked
    for. `seed` stands in for the folder's own, so that the machines are the same in every folder.
    """

    folder: Path
    root_fingerprint: bytes
    chip_id: ChipId
    seed: bytes | None = field(default=None, repr=False)

    @staticmethod
    def open(folder: Path) -> "SimulatedVendor":
        """The vendor of a folder, made at first use; VendorError for a folder with something else in it.

        Making two RSA-4096 keys takes some seconds. Of several processes that start at once, one wins and the
        others use what it made.
        """
        if not folder.exists() or not any(folder.iterdir()):
            folder.parent.mkdir(parents=True, exist_ok=True)
            store(folder, _new_vendor())
        root = parse_certificate(read(folder, f"{ROOT}.der"))
        return SimulatedVendor(folder, root.fingerprint, amd.chip_id(read(folder, CHIP_SEED), Product.GENOA))

    def seeded(self, seed: bytes) -> "SimulatedVendor":
        """The vendor with the machines of this seed under its own roots."""
        return replace(self, seed=seed, chip_id=amd.chip_id(seed, Product.GENOA))

    def power_on(self, measurement: bytes, *, now: int) -> SimulatedGuest:
        """Start a guest with this launch digest on the simulated machine, with certificates as of `now`."""
        return self.start(self.setting(measurement, at=now))

    def setting(
        self,
        measurement: bytes,
        *,
        at: int,
        product: Product = Product.GENOA,
        version: int = 3,
        signing_key: SigningKey = SigningKey.VCEK,
    ) -> SnpSetting:
        """A guest that a verifier should accept, for `dataclasses.replace` to spoil."""
        seed = self._seed()
        chip = amd.chip_id(seed, product)
        fields = ReportFields(measurement, chip, report_id=sha256(chip + measurement).digest())
        made = of_product(fields, product, version, signing_key)
        return SnpSetting(
            at=at,
            fields=made,
            certified_tcb=made.reported_tcb,
            certified_chip=amd.hardware_id(seed, product),
            product=product,
            signing_key=signing_key,
            leaf_window=amd.VCEK_WINDOW if signing_key is SigningKey.VCEK else amd.VLEK_WINDOW,
        )

    def start(self, setting: SnpSetting) -> SimulatedGuest:
        """Start a guest in this setting. Keys that this product or authority lacks are made."""
        root, intermediate = self._authorities(setting)
        chip_key = amd.signing_key(self._seed(), setting)
        certified = LeafFields(
            setting.product, setting.signing_key, setting.certified_tcb, setting.certified_chip
        )
        leaf = certificates.leaf(
            certified, chip_key.public_key(), intermediate, setting.leaf_window.around(setting.at)
        )
        crl = certificates.revocation_list(
            root,
            setting.list_window.around(setting.at),
            setting.revoked,
            leaf_of=intermediate if setting.revokes_leaf else None,
        )
        return SimulatedGuest(
            chain=(
                leaf,
                self._certificate(setting, intermediate, root),
                self._certificate(setting, root, root),
            ),
            crl=crl,
            chip_id=ChipId(setting.certified_chip.ljust(amd.CHIP_ID_SIZE, b"\x00")),
            fields=setting.fields,
            key=chip_key,
        )

    def revocation_list(
        self, *, now: int, revoked: tuple[int, ...] = (), product: Product = Product.GENOA
    ) -> bytes:
        """The root's list of revoked serial numbers, valid for 30 days from `now`."""
        root = certificates.root_of(product, self._key(_file(amd.GENUINE, product, ROOT)))
        return certificates.revocation_list(root, CURRENT.around(now), revoked)

    def root(self, product: Product = Product.GENOA) -> bytes:
        """The DER certificate of a product's root, which a policy names by its fingerprint."""
        root = certificates.root_of(product, self._key(_file(amd.GENUINE, product, ROOT)))
        name = _file(amd.GENUINE, product, ROOT)
        return keep(self.folder, f"{name}.der", partial(certificates.authority, root, root))

    @property
    def intel(self) -> SimulatedIntel:
        """The same vendor in Intel's place, with keys from the folder's seed."""
        return SimulatedIntel(seeds.derive(self._seed(), b"intel"))

    def _seed(self) -> bytes:
        return read(self.folder, CHIP_SEED) if self.seed is None else self.seed

    def _authorities(self, setting: SnpSetting) -> tuple[Authority, Authority]:
        kind = INTERMEDIATES[setting.signing_key]
        root = self._key(_file(setting.authority, setting.product, ROOT))
        intermediate = self._key(_file(setting.authority, setting.product, kind))
        return (
            certificates.root_of(setting.product, root),
            certificates.intermediate_of(setting.product, setting.signing_key, intermediate),
        )

    def _certificate(self, setting: SnpSetting, subject: Authority, issuer: Authority) -> bytes:
        kind = ROOT if subject is issuer else INTERMEDIATES[setting.signing_key]
        name = _file(setting.authority, setting.product, kind)
        return keep(self.folder, f"{name}.der", partial(certificates.authority, subject, issuer))

    def _key(self, name: str) -> rsa.RSAPrivateKey:
        encoded = keep(self.folder, f"{name}.key", lambda: _encode_key(_new_key()))
        # This file is the vendor's own. Checking its primes again would take a quarter of a second each time.
        key = load_der_private_key(encoded, password=None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise VendorError(f"expected an RSA key in {self.folder / name}.key")
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


def _new_vendor() -> dict[str, bytes]:
    root_key, intermediate_key = _new_key(), _new_key()
    root = certificates.root_of(Product.GENOA, root_key)
    intermediate = certificates.intermediate_of(Product.GENOA, SigningKey.VCEK, intermediate_key)
    return {
        f"{ROOT}.key": _encode_key(root_key),
        f"{ROOT}.der": certificates.authority(root, root),
        f"{INTERMEDIATES[SigningKey.VCEK]}.key": _encode_key(intermediate_key),
        f"{INTERMEDIATES[SigningKey.VCEK]}.der": certificates.authority(intermediate, root),
        CHIP_SEED: os.urandom(32),
    }


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=RSA_EXPONENT, key_size=RSA_BITS)


def _encode_key(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _file(authority: str, product: Product, kind: str) -> str:
    """The name of a key's files without their ending. The Genoa machine is the one that was there first."""
    of_product_name = "" if product is Product.GENOA else product.value
    return "-".join(part for part in (authority, of_product_name, kind) if part)
