# SPDX-License-Identifier: Apache-2.0
"""The chain VCEK, ASK, ARK with AMD's extensions (AMD 57230, attestation.md 3.2).

`parse_chain` reads names and extensions; `check_chain` checks that each is signed by the next (S6).
VLEK, the key that cloud providers use instead, has another leaf and intermediate and is refused so far.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from attestation import der, x509
from attestation.der import DerError
from attestation.snp.product import Product
from attestation.snp.report import ChipId
from attestation.x509 import Certificate, CertificateError, Extension

AMD_ARC: Final = "1.3.6.1.4.1.3704.1"
STRUCTURE_VERSION: Final = f"{AMD_ARC}.1"
PRODUCT_NAME: Final = f"{AMD_ARC}.2"
HARDWARE_ID: Final = f"{AMD_ARC}.4"

# The patch levels a certificate is for, in the byte order of the product's TCB version (snp/product.py):
# .1 bootloader, .2 tee, .3 snp, .4 to .7 reserved, .8 microcode, .9 fmc.
_BEFORE_TURIN: Final = (1, 2, 4, 5, 6, 7, 3, 8)
PATCH_LEVELS: Final = MappingProxyType(
    {
        Product.MILAN: tuple(f"{AMD_ARC}.3.{arc}" for arc in _BEFORE_TURIN),
        Product.GENOA: tuple(f"{AMD_ARC}.3.{arc}" for arc in _BEFORE_TURIN),
        Product.TURIN: tuple(f"{AMD_ARC}.3.{arc}" for arc in (9, 1, 2, 3, 5, 6, 7, 8)),
    }
)
STRUCTURE_VERSIONS: Final = MappingProxyType({Product.MILAN: 0, Product.GENOA: 0, Product.TURIN: 1})
HARDWARE_ID_SIZES: Final = MappingProxyType({Product.MILAN: 64, Product.GENOA: 64, Product.TURIN: 8})
CHIP_ID_SIZE: Final = 64

LEAF_NAME: Final = "SEV-VCEK"
# What AMD calls a product in certificates, with a stepping on some: "Milan-B0".
CERTIFIED_NAMES: Final = MappingProxyType(
    {Product.MILAN: "Milan", Product.GENOA: "Genoa", Product.TURIN: "Turin"}
)
_STEPPING: Final = re.compile(r"(-[A-Z][0-9])?")
_PRODUCTS: Final = MappingProxyType({name: product for product, name in CERTIFIED_NAMES.items()})


@dataclass(frozen=True, slots=True)
class Leaf:
    """The certificate of the key a processor signs reports with, at one set of patch levels."""

    certificate: Certificate
    key: ec.EllipticCurvePublicKey = field(repr=False)
    product: Product
    tcb: bytes
    chip_id: ChipId


@dataclass(frozen=True, slots=True)
class Chain:
    """A leaf and the two authorities above it, whose names fit; `product` is the root's."""

    leaf: Leaf
    intermediate: Certificate
    root: Certificate
    product: Product

    @property
    def certificates(self) -> tuple[Certificate, Certificate, Certificate]:
        """The three, leaf first."""
        return self.leaf.certificate, self.intermediate, self.root


def parse_chain(chain: tuple[bytes, ...]) -> Chain:
    """Read leaf, intermediate and root in that order; CertificateError for another count, form or name."""
    if len(chain) != 3:
        raise CertificateError(f"expected leaf, intermediate and root, found {len(chain)} certificates")
    leaf, intermediate, root = (x509.parse_certificate(certificate) for certificate in chain)
    product = _root_product(root)
    expected = (LEAF_NAME, f"SEV-{CERTIFIED_NAMES[product]}", f"ARK-{CERTIFIED_NAMES[product]}")
    found = tuple(certificate.subject.common_name for certificate in (leaf, intermediate, root))
    if found != expected:
        raise CertificateError(f"expected the names {', '.join(expected)}, found {', '.join(found)}")
    return Chain(parse_leaf(leaf), intermediate, root, product)


def parse_leaf(certificate: Certificate) -> Leaf:
    """Read AMD's extensions: exactly those of the product, none critical, each canonical (S9, S10)."""
    extensions = certificate.extensions
    try:
        product = _certified_product(extensions)
        _check_extension_set(extensions, product)
        levels = bytes(_patch_level(extensions[identifier]) for identifier in PATCH_LEVELS[product])
        chip_id = _chip_id(extensions[HARDWARE_ID].value, product)
    except DerError as error:
        raise CertificateError(f"{LEAF_NAME}: {error}") from error
    return Leaf(certificate, _leaf_key(certificate), product, levels, chip_id)


def check_chain(chain: Chain) -> None:
    """Check that names, rights and signatures lead from the leaf to the root, which signs itself (S6)."""
    leaf, intermediate, root = chain.certificates
    for certificate, issuer in ((leaf, intermediate), (intermediate, root), (root, root)):
        if certificate.issuer.encoded != issuer.subject.encoded:
            raise CertificateError(
                f"{certificate.subject.common_name}: expected the issuer {issuer.subject.common_name}, "
                f"found {certificate.issuer.common_name}"
            )
        x509.check_authority(issuer, x509.KEY_CERT_SIGN)
        x509.check_signed_by(certificate.signed, issuer)


def _root_product(root: Certificate) -> Product:
    prefix, _, name = root.subject.common_name.partition("-")
    if prefix != "ARK" or name not in _PRODUCTS:
        raise CertificateError(f"expected a root named ARK and a product, found {root.subject.common_name}")
    return _PRODUCTS[name]


def _certified_product(extensions: Mapping[str, Extension]) -> Product:
    if PRODUCT_NAME not in extensions:
        raise CertificateError(f"{LEAF_NAME}: expected a product name")
    name = der.text(der.sole(extensions[PRODUCT_NAME].value, der.IA5_STRING))
    for product, certified in CERTIFIED_NAMES.items():
        if name.startswith(certified) and _STEPPING.fullmatch(name.removeprefix(certified)):
            return product
    raise CertificateError(f"{LEAF_NAME}: expected a known product, found {name!r}")


def _check_extension_set(extensions: Mapping[str, Extension], product: Product) -> None:
    expected = {STRUCTURE_VERSION, PRODUCT_NAME, HARDWARE_ID, *PATCH_LEVELS[product]}
    if unlike := expected ^ extensions.keys():
        raise CertificateError(f"{LEAF_NAME}: missing or unexpected extensions {', '.join(sorted(unlike))}")
    version = der.integer(der.sole(extensions[STRUCTURE_VERSION].value, der.INTEGER))
    if version != STRUCTURE_VERSIONS[product]:
        expected_version = STRUCTURE_VERSIONS[product]
        raise CertificateError(f"{LEAF_NAME}: expected structure version {expected_version}, found {version}")


def _patch_level(extension: Extension) -> int:
    level = der.integer(der.sole(extension.value, der.INTEGER))
    if level > 0xFF:
        raise CertificateError(f"{LEAF_NAME}: expected a patch level of one byte, found {level}")
    return level


def _chip_id(value: bytes, product: Product) -> ChipId:
    """The hardware id, which some certificates carry raw and some as an OCTET STRING."""
    size = HARDWARE_ID_SIZES[product]
    identity = value if len(value) == size else der.sole(value, der.OCTET_STRING).content
    if len(identity) != size:
        raise CertificateError(f"{LEAF_NAME}: expected a hardware id of {size} bytes, found {len(identity)}")
    return ChipId(identity.ljust(CHIP_ID_SIZE, b"\x00"))


def _leaf_key(certificate: Certificate) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(certificate.public_key_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{LEAF_NAME}: unreadable public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise CertificateError(f"{LEAF_NAME}: expected a P-384 key")
    return key
