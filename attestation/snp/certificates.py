# SPDX-License-Identifier: Apache-2.0
"""The chain VCEK, ASK, ARK or VLEK, ASVK, ARK with AMD's extensions (AMD 57230, attestation.md 3.2).

`parse_chain` reads names and extensions; `check_chain` checks that each is signed by the next (S6).
A chip signs with its own key, certified by a VCEK below the ASK, or with a key that AMD gives a cloud
provider, certified by a VLEK below the ASVK. A VLEK names the provider in place of the chip.
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
from attestation.snp.report import ChipId, SigningKey
from attestation.x509 import Certificate, CertificateError, Extension

AMD_ARC: Final = "1.3.6.1.4.1.3704.1"
STRUCTURE_VERSION: Final = f"{AMD_ARC}.1"
PRODUCT_NAME: Final = f"{AMD_ARC}.2"
HARDWARE_ID: Final = f"{AMD_ARC}.4"
PROVIDER: Final = f"{AMD_ARC}.5"

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
PROVIDER_LEAF_NAME: Final = "SEV-VLEK"
LEAF_KEYS: Final = MappingProxyType({LEAF_NAME: SigningKey.VCEK, PROVIDER_LEAF_NAME: SigningKey.VLEK})
INTERMEDIATE_PREFIXES: Final = MappingProxyType({SigningKey.VCEK: "SEV", SigningKey.VLEK: "SEV-VLEK"})
MAX_PROVIDER_LENGTH: Final = 255
# What AMD calls a product in certificates, with a stepping on some: "Milan-B0".
CERTIFIED_NAMES: Final = MappingProxyType(
    {Product.MILAN: "Milan", Product.GENOA: "Genoa", Product.TURIN: "Turin"}
)
_STEPPING: Final = re.compile(r"(-[A-Z][0-9])?")
_LEAF_NAMES: Final = MappingProxyType({kind: name for name, kind in LEAF_KEYS.items()})
_PRODUCTS: Final = MappingProxyType({name: product for product, name in CERTIFIED_NAMES.items()})


@dataclass(frozen=True, slots=True)
class Leaf:
    """The certificate of the key a processor signs reports with, at one set of patch levels.

    A VCEK has a `chip_id` and an empty `provider`; a VLEK has a `provider` and an empty `chip_id`.
    """

    certificate: Certificate
    kind: SigningKey
    key: ec.EllipticCurvePublicKey = field(repr=False)
    product: Product
    tcb: bytes
    chip_id: ChipId
    provider: str


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
    found = tuple(certificate.subject.common_name for certificate in (leaf, intermediate, root))
    kind = LEAF_KEYS.get(found[0], SigningKey.VCEK)
    certified = CERTIFIED_NAMES[product]
    expected = (_LEAF_NAMES[kind], f"{INTERMEDIATE_PREFIXES[kind]}-{certified}", f"ARK-{certified}")
    if found != expected:
        raise CertificateError(f"expected the names {', '.join(expected)}, found {', '.join(found)}")
    return Chain(parse_leaf(leaf), intermediate, root, product)


def parse_leaf(certificate: Certificate) -> Leaf:
    """Read AMD's extensions: exactly those of kind and product, none critical, each canonical (S9, S10)."""
    name, extensions = certificate.subject.common_name, certificate.extensions
    try:
        kind = _leaf_kind(name)
        product = _certified_product(extensions)
        _check_extension_set(extensions, product, kind)
        levels = bytes(_patch_level(extensions[identifier]) for identifier in PATCH_LEVELS[product])
        chip_id, provider = ChipId(b""), ""
        if kind is SigningKey.VCEK:
            chip_id = _chip_id(extensions[HARDWARE_ID].value, product)
        else:
            provider = _provider(extensions[PROVIDER].value)
        key = _leaf_key(certificate)
    except (DerError, CertificateError) as error:
        raise CertificateError(f"{name}: {error}") from error
    return Leaf(certificate, kind, key, product, levels, chip_id, provider)


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


def _leaf_kind(name: str) -> SigningKey:
    if name not in LEAF_KEYS:
        raise CertificateError(f"expected the name {' or '.join(LEAF_KEYS)}")
    return LEAF_KEYS[name]


def _certified_product(extensions: Mapping[str, Extension]) -> Product:
    if PRODUCT_NAME not in extensions:
        raise CertificateError("expected a product name")
    name = der.text(der.sole(extensions[PRODUCT_NAME].value, der.IA5_STRING))
    for product, certified in CERTIFIED_NAMES.items():
        if name.startswith(certified) and _STEPPING.fullmatch(name.removeprefix(certified)):
            return product
    raise CertificateError(f"expected a known product, found {name!r}")


def _check_extension_set(extensions: Mapping[str, Extension], product: Product, kind: SigningKey) -> None:
    identity = HARDWARE_ID if kind is SigningKey.VCEK else PROVIDER
    expected = {STRUCTURE_VERSION, PRODUCT_NAME, identity, *PATCH_LEVELS[product]}
    if unlike := expected ^ extensions.keys():
        raise CertificateError(f"missing or unexpected extensions {', '.join(sorted(unlike))}")
    version = der.integer(der.sole(extensions[STRUCTURE_VERSION].value, der.INTEGER))
    if version != STRUCTURE_VERSIONS[product]:
        expected_version = STRUCTURE_VERSIONS[product]
        raise CertificateError(f"expected structure version {expected_version}, found {version}")


def _patch_level(extension: Extension) -> int:
    level = der.integer(der.sole(extension.value, der.INTEGER))
    if level > 0xFF:
        raise CertificateError(f"expected a patch level of one byte, found {level}")
    return level


def _chip_id(value: bytes, product: Product) -> ChipId:
    """The hardware id, which some certificates carry raw and some as an OCTET STRING."""
    size = HARDWARE_ID_SIZES[product]
    identity = value if len(value) == size else der.sole(value, der.OCTET_STRING).content
    if len(identity) != size:
        raise CertificateError(f"expected a hardware id of {size} bytes, found {len(identity)}")
    return ChipId(identity.ljust(CHIP_ID_SIZE, b"\x00"))


def _provider(value: bytes) -> str:
    """The cloud provider, such as "CN=cc-us-east-2.amazonaws.com"."""
    name = der.text(der.sole(value, der.IA5_STRING))
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= MAX_PROVIDER_LENGTH):
        raise CertificateError(f"expected a provider's name in printable ASCII, found {value.hex()}")
    return name


def _leaf_key(certificate: Certificate) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(certificate.public_key_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("unreadable public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise CertificateError("expected a P-384 key")
    return key
