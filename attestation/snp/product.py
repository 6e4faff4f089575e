# SPDX-License-Identifier: Apache-2.0
"""Processor generations with SEV-SNP, and how each lays out a TCB version (AMD 56860, attestation.md 3.1)."""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Final


class Product(Enum):
    """A generation of EPYC processors; each has a root key of its own."""

    MILAN = "milan"
    GENOA = "genoa"
    TURIN = "turin"


class TcbError(Exception):
    """Eight bytes are no TCB version of the product."""


@dataclass(frozen=True, slots=True)
class Tcb:
    """Security patch levels of a machine's firmware. Only Turin has `fmc`; elsewhere it is 0."""

    fmc: int
    bootloader: int
    tee: int
    snp: int
    microcode: int

    def covers(self, floor: "Tcb") -> bool:
        """Whether every component is at least that of `floor`. There is no order across components (A8)."""
        return (
            self.fmc >= floor.fmc
            and self.bootloader >= floor.bootloader
            and self.tee >= floor.tee
            and self.snp >= floor.snp
            and self.microcode >= floor.microcode
        )

    def describe(self) -> str:
        """The components in the order of the firmware's boot."""
        fmc = f"fmc {self.fmc}, " if self.fmc else ""
        return (
            f"{fmc}bootloader {self.bootloader}, tee {self.tee}, snp {self.snp}, microcode {self.microcode}"
        )


TCB_SIZE: Final = 8

# Where each component is within the eight bytes; the others must be zero.
TCB_OFFSETS: Final = MappingProxyType(
    {
        Product.MILAN: {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7},
        Product.GENOA: {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7},
        Product.TURIN: {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7},
    }
)

# CPUID family, first and last model. Models 0xA0-0xAF (Bergamo, Siena) use the Genoa keys.
CPU_MODELS: Final = (
    (0x19, 0x00, 0x0F, Product.MILAN),
    (0x19, 0x10, 0x1F, Product.GENOA),
    (0x19, 0xA0, 0xAF, Product.GENOA),
    (0x1A, 0x00, 0x11, Product.TURIN),
)


@lru_cache(maxsize=64)
def decode_tcb(encoded: bytes, product: Product) -> Tcb:
    """Read a TCB version in the product's layout; TcbError for a set reserved byte."""
    offsets = TCB_OFFSETS[product]
    reserved = set(range(TCB_SIZE)) - set(offsets.values())
    if len(encoded) != TCB_SIZE or any(encoded[offset] for offset in reserved):
        raise TcbError(f"expected a TCB version of {product.value}, found {encoded.hex()}")
    components = {name: encoded[offset] for name, offset in offsets.items()}
    return Tcb(**{"fmc": 0, **components})


def product_of_cpu(family: int, model: int) -> Product | None:
    """The product of a CPUID family and model, or None for one not known here."""
    for known_family, first, last, product in CPU_MODELS:
        if family == known_family and first <= model <= last:
            return product
    return None
