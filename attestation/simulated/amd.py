# SPDX-License-Identifier: Apache-2.0
"""Everything there is to choose about a simulated SEV-SNP guest, and the keys behind it (attestation.md 12).

A test replaces one field of `SnpSetting`, and `SimulatedVendor.start` makes a guest that is right but for
that. Of AMD's side the RSA keys are random and kept in the vendor's folder, and RSA-PSS salts are random; the
chip's id and key, and so every report, follow from the folder's seed (RFC 6979 signatures).
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from attestation.simulated import seed as seeds
from attestation.simulated.snp import ReportFields
from attestation.simulated.window import CURRENT, Window
from attestation.snp.certificates import HARDWARE_ID_SIZES
from attestation.snp.product import Product
from attestation.snp.report import ChipId, SigningKey

CHIP_ID_SIZE: Final = 64
VCEK_WINDOW: Final = Window(-1, 7 * 365)
VLEK_WINDOW: Final = Window(-1, 365)
GENUINE: Final = ""
ATTACKER: Final = "attacker"


@dataclass(frozen=True, slots=True)
class SnpSetting:
    """A guest, the machine it runs on, and what AMD says of that machine at the time `at`.

    `authority` names who issued: another name is another root. `revokes_leaf` puts the leaf on the list.
    """

    at: int
    fields: ReportFields
    certified_tcb: bytes
    certified_chip: bytes
    product: Product = Product.GENOA
    signing_key: SigningKey = SigningKey.VCEK
    leaf_window: Window = VCEK_WINDOW
    list_window: Window = CURRENT
    revoked: tuple[int, ...] = ()
    revokes_leaf: bool = False
    authority: str = GENUINE


def hardware_id(seed: bytes, product: Product) -> bytes:
    """The chip's identity as its certificate has it: 64 bytes, on Turin 8."""
    label = b"chip id" if product is Product.GENOA else b"chip id " + product.value.encode("ascii")
    return seeds.derive(seed, label)[: HARDWARE_ID_SIZES[product]]


def chip_id(seed: bytes, product: Product) -> ChipId:
    """The chip's identity as its reports have it: always 64 bytes."""
    return ChipId(hardware_id(seed, product).ljust(CHIP_ID_SIZE, b"\x00"))


def signing_key(seed: bytes, setting: SnpSetting) -> ec.EllipticCurvePrivateKey:
    """The key at its patch levels: as on hardware, the same at every start and new after an update."""
    label = b"chip key" + setting.certified_tcb
    if setting.signing_key is SigningKey.VLEK:
        label = b"provider key " + setting.product.value.encode("ascii") + setting.certified_tcb
    elif setting.product is not Product.GENOA:
        label += b" " + setting.product.value.encode("ascii")
    return seeds.derive_key(seed, label, ec.SECP384R1())
