# SPDX-License-Identifier: Apache-2.0
"""What a client accepts: roots, measurements, machines, models, patch levels (attestation.md 2, 7.2 and 8).

A policy only ever adds: what it does not name is refused, an empty list accepts nothing, and "any" is an
explicit value. Its text form is TOML:

    version = 1
    measurements = ["<96 hex digits>"]          # launch digests of accepted images
    machines = ["<128 hex digits>"]             # chip ids, or "any"
    models = ["<64 hex digits>"]                # SHA-256 of weights files, or "any"
    audiences = ["https://llm.example"]         # optional: origins whose enclaves are meant
    products = ["genoa", "turin"]               # optional
    max_validity_seconds = 1260                 # optional: longest life of evidence
    clock_skew_seconds = 60                     # optional: how far ahead an enclave's clock may be
    unsafe_allow_debug = false                  # optional: the host can read a debug guest
    [simulated]                                 # optional: roots of simulated hardware
    roots = ["<64 hex digits>"]
    [tcb.genoa]                                 # optional: patch levels other than the built-in floor
    snp = 23
    [snp]                                       # optional: attestation/snp/policy.py
    host_data = ["<64 hex digits>"]             # optional: lists of identities, or "any"

Milan must be named, because its root seed was extracted in software (arXiv 2605.12990): a Milan report can be
forged at any patch level, and helps only where something else proves who holds the machine (A14).
"""

import json
import re
import tomllib
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from attestation.settings import (
    ANY,
    PolicyError,
    Toml,
    boolean,
    check_names,
    digests,
    integer,
    table_of,
    texts,
)
from attestation.snp.policy import SnpPolicy, parse_snp_policy, render_snp_policy
from attestation.snp.product import TCB_OFFSETS, Product, Tcb
from attestation.snp.report import Measurement
from attestation.tdx.policy import TdxPolicy
from attestation.tdx.policy import default_policy as default_tdx_policy
from attestation.tdx_settings import parse_tdx_policy, render_tdx_policy

__all__ = [
    "AMD_ROOTS",
    "INTEL_ROOT",
    "AnyMachine",
    "AnyModel",
    "Measurement",
    "Policy",
    "PolicyError",
    "Product",
    "SimulatedRoots",
    "SnpPolicy",
    "Tcb",
    "TcbFloors",
    "TdxPolicy",
    "default_policy",
    "parse_policy",
    "render_policy",
    "with_any_machine",
    "with_audience",
]

# SHA-256 of the public keys of ARK-Milan, ARK-Genoa and ARK-Turin (attestation.md 2).
AMD_ROOTS: Final = MappingProxyType(
    {
        Product.MILAN: bytes.fromhex("9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"),
        Product.GENOA: bytes.fromhex("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"),
        Product.TURIN: bytes.fromhex("4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"),
    }
)
# SHA-256 of the public key of the Intel SGX Root CA, which signs for TDX too.
INTEL_ROOT: Final = bytes.fromhex("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")
VENDOR_ROOTS: Final = frozenset({*AMD_ROOTS.values(), INTEL_ROOT})

POLICY_VERSION: Final = 1
DIGEST_SIZE: Final = 32
MEASUREMENT_SIZE: Final = 48
CHIP_ID_SIZE: Final = 64
# An epoch's key lives 1,200 s (wire.md 6.2), and its evidence may be made a minute ahead.
DEFAULT_MAX_VALIDITY_SECONDS: Final = 1260
DEFAULT_CLOCK_SKEW_SECONDS: Final = 60

_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


class AnyMachine(Enum):
    """Accept every machine: evidence of the right code in an unknown place."""

    ANY_MACHINE = "any"


class AnyModel(Enum):
    """Accept every model."""

    ANY_MODEL = "any"


@dataclass(frozen=True, slots=True)
class SimulatedRoots:
    """Roots of simulated hardware, which protects nothing: a type apart, so none is added by accident."""

    fingerprints: frozenset[bytes]

    def __post_init__(self) -> None:
        """Refuse what is no SHA-256 digest, and the root of a real vendor."""
        if any(len(fingerprint) != DIGEST_SIZE for fingerprint in self.fingerprints):
            raise PolicyError(f"expected fingerprints of {DIGEST_SIZE} bytes")
        if self.fingerprints & VENDOR_ROOTS:
            raise PolicyError("expected a simulated root, found one of AMD's or Intel's")


@dataclass(frozen=True, slots=True)
class TcbFloors:
    """The lowest accepted patch levels of each product.

    As of 2026-10. SNP levels are those of AMD-SB-3019 (EntrySign, CVE-2024-56161): 0x18 on Milan, 0x17 on
    Genoa. The other levels are the lowest on genuine machines seen in 2025 and 2026 (attestation.md 1).
    Microcode is counted apart for each CPU model within a product, so its floor is that of the lowest model.
    """

    milan: Tcb = field(default=Tcb(fmc=0, bootloader=4, tee=0, snp=0x18, microcode=0xD5))
    genoa: Tcb = field(default=Tcb(fmc=0, bootloader=9, tee=0, snp=0x17, microcode=0x1B))
    turin: Tcb = field(default=Tcb(fmc=1, bootloader=1, tee=1, snp=4, microcode=0x51))

    def of(self, product: Product) -> Tcb:
        """The floor of one product."""
        floors = {Product.MILAN: self.milan, Product.GENOA: self.genoa, Product.TURIN: self.turin}
        return floors[product]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a client accepts. The three required fields say what it expects to find; `audiences` where."""

    measurements: frozenset[Measurement]
    machines: frozenset[bytes] | AnyMachine
    models: frozenset[bytes] | AnyModel
    audiences: frozenset[str] = frozenset()
    products: frozenset[Product] = frozenset({Product.GENOA, Product.TURIN})
    simulated_roots: SimulatedRoots = SimulatedRoots(frozenset())
    tcb_floors: TcbFloors = TcbFloors()
    max_validity_seconds: int = DEFAULT_MAX_VALIDITY_SECONDS
    clock_skew_seconds: int = DEFAULT_CLOCK_SKEW_SECONDS
    unsafe_allow_debug: bool = False
    snp: SnpPolicy = field(default_factory=SnpPolicy)
    tdx: TdxPolicy = field(default_factory=default_tdx_policy)


def default_policy() -> Policy:
    """AMD's roots, and no measurement, machine or model: refuses everything until told what to expect."""
    return Policy(measurements=frozenset(), machines=frozenset(), models=frozenset())


def with_audience(policy: Policy, origin: str) -> Policy:
    """The policy that also accepts enclaves answering for `origin`, such as "https://llm.example:8443"."""
    return replace(policy, audiences=policy.audiences | {_origin(origin)})


def with_any_machine(policy: Policy) -> Policy:
    """The policy that also accepts the right code in an unknown place, of either vendor."""
    anywhere = replace(policy.tdx, fmspcs=ANY, ppids=ANY)
    return replace(policy, machines=AnyMachine.ANY_MACHINE, tdx=anywhere)


def parse_policy(text: str) -> Policy:
    """Read the TOML form; PolicyError for an unknown, missing or malformed setting."""
    try:
        document: dict[str, Toml] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"expected TOML: {error}") from error
    check_names(document, required=_REQUIRED, optional=_OPTIONAL, where="the policy")
    if (version := integer(document["version"], "version")) != POLICY_VERSION:
        raise PolicyError(f"expected a policy of version {POLICY_VERSION}, found {version}")
    return Policy(
        measurements=frozenset(
            Measurement(digest)
            for digest in digests(document["measurements"], "measurements", MEASUREMENT_SIZE)
        ),
        machines=_machines(document["machines"]),
        models=_models(document["models"]),
        audiences=_audiences(document.get("audiences", [])),
        products=_products(document.get("products", ["genoa", "turin"])),
        simulated_roots=_simulated_roots(document.get("simulated", {"roots": []})),
        tcb_floors=_tcb_floors(document.get("tcb", {})),
        max_validity_seconds=integer(
            document.get("max_validity_seconds", DEFAULT_MAX_VALIDITY_SECONDS), "max_validity_seconds"
        ),
        clock_skew_seconds=integer(
            document.get("clock_skew_seconds", DEFAULT_CLOCK_SKEW_SECONDS), "clock_skew_seconds"
        ),
        unsafe_allow_debug=boolean(document.get("unsafe_allow_debug", False), "unsafe_allow_debug"),
        snp=parse_snp_policy(document.get("snp", {})),
        tdx=parse_tdx_policy(document.get("tdx", {})),
    )


def render_policy(policy: Policy) -> str:
    """The TOML that `parse_policy` reads back as the same policy."""
    return "\n".join(
        (
            f"version = {POLICY_VERSION}",
            f"measurements = {_hex_list(policy.measurements)}",
            f"machines = {_hex_list_or_any(policy.machines)}",
            f"models = {_hex_list_or_any(policy.models)}",
            f"audiences = {json.dumps(sorted(policy.audiences))}",
            f"products = {json.dumps(sorted(product.value for product in policy.products))}",
            f"max_validity_seconds = {policy.max_validity_seconds}",
            f"clock_skew_seconds = {policy.clock_skew_seconds}",
            f"unsafe_allow_debug = {json.dumps(policy.unsafe_allow_debug)}",
            "",
            "[simulated]",
            f"roots = {_hex_list(policy.simulated_roots.fingerprints)}",
            *render_snp_policy(policy.snp),
            *render_tdx_policy(policy.tdx),
            *(line for product in Product for line in _render_floor(policy.tcb_floors.of(product), product)),
            "",
        )
    )


_REQUIRED: Final = frozenset({"version", "measurements", "machines", "models"})
_OPTIONAL: Final = frozenset(
    {
        "audiences",
        "clock_skew_seconds",
        "max_validity_seconds",
        "products",
        "simulated",
        "snp",
        "tcb",
        "tdx",
        "unsafe_allow_debug",
    }
)


def _machines(value: Toml) -> frozenset[bytes] | AnyMachine:
    if value == AnyMachine.ANY_MACHINE.value:
        return AnyMachine.ANY_MACHINE
    return digests(value, "machines", CHIP_ID_SIZE)


def _models(value: Toml) -> frozenset[bytes] | AnyModel:
    if value == AnyModel.ANY_MODEL.value:
        return AnyModel.ANY_MODEL
    return digests(value, "models", DIGEST_SIZE)


def _audiences(value: Toml) -> frozenset[str]:
    return frozenset(_origin(text) for text in texts(value, "audiences"))


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise PolicyError(f"expected an origin such as https://llm.example:8443, found {text!r}")
    return text


def _products(value: Toml) -> frozenset[Product]:
    names = texts(value, "products")
    known = {product.value: product for product in Product}
    if unknown := set(names) - known.keys():
        raise PolicyError(f"expected products among {', '.join(known)}, found {', '.join(sorted(unknown))}")
    return frozenset(known[name] for name in names)


def _simulated_roots(value: Toml) -> SimulatedRoots:
    table = table_of(value, "simulated")
    check_names(table, required=frozenset({"roots"}), optional=frozenset(), where="[simulated]")
    return SimulatedRoots(digests(table["roots"], "simulated.roots", DIGEST_SIZE))


def _tcb_floors(value: Toml) -> TcbFloors:
    table = table_of(value, "tcb")
    names = frozenset(product.value for product in Product)
    check_names(table, required=frozenset(), optional=names, where="[tcb]")
    built_in = TcbFloors()
    return TcbFloors(
        **{product.value: _tcb(table.get(product.value, {}), built_in, product) for product in Product}
    )


def _tcb(value: Toml, built_in: TcbFloors, product: Product) -> Tcb:
    """The built-in floor of a product with the components of `value` in place of its own."""
    where = f"tcb.{product.value}"
    table = table_of(value, where)
    components = frozenset(TCB_OFFSETS[product])
    check_names(table, required=frozenset(), optional=components, where=f"[{where}]")
    levels = {name: integer(level, f"{where}.{name}") for name, level in table.items()}
    if any(level > 0xFF for level in levels.values()):
        raise PolicyError(f"expected patch levels of up to 255 in [{where}]")
    return replace(built_in.of(product), **levels)


def _render_floor(floor: Tcb, product: Product) -> list[str]:
    """Nothing for the built-in floor, so that a written policy follows its updates."""
    if floor == TcbFloors().of(product):
        return []
    levels = asdict(floor)
    return ["", f"[tcb.{product.value}]", *(f"{name} = {levels[name]}" for name in TCB_OFFSETS[product])]


def _hex_list_or_any(values: frozenset[bytes] | AnyMachine | AnyModel) -> str:
    return _hex_list(values) if isinstance(values, frozenset) else json.dumps(values.value)


def _hex_list(values: frozenset[bytes] | frozenset[Measurement]) -> str:
    return json.dumps(sorted(value.hex() for value in values))
