# SPDX-License-Identifier: Apache-2.0
"""Reports are read by the table of their version, and what the version reserves is zero."""

from dataclasses import replace

import pytest

from attestation.simulated.snp import ReportFields
from attestation.snp.product import Product, TcbError, decode_tcb, product_of_cpu
from attestation.snp.report import RESERVED, VERSIONS, Report, ReportError, SigningKey, parse_report
from tests.fakes.hardware import guest


def parse(fields: ReportFields) -> Report:
    return parse_report(guest().sign(fields))


def test_fields_are_read_where_they_are() -> None:
    fields = replace(guest().fields, guest_svn=7, host_data=bytes([8]) * 32, vmpl=2, key_info=0b101)
    parsed = parse(fields)
    assert (parsed.version, parsed.guest_svn, parsed.vmpl) == (3, 7, 2)
    assert (parsed.host_data, parsed.measurement) == (fields.host_data, fields.measurement)
    assert parsed.author_key_used
    assert not parsed.chip_key_masked
    assert parsed.signing_key is SigningKey.VLEK
    assert parsed.chip_id == guest().chip_id
    assert parsed.cpu
    assert parsed.cpu.describe() == "CPU family 0x19 model 0x11"
    assert parsed.cpu.product is Product.GENOA


def test_versions_say_what_they_know() -> None:
    assert (
        parse(replace(guest().fields, version=2, cpuid_family=0, cpuid_model=0, cpuid_stepping=0)).cpu is None
    )
    newest = parse(replace(guest().fields, version=5, launch_mitigations=3, current_mitigations=1))
    assert (newest.launch_mitigations, newest.current_mitigations) == (3, 1)


def test_platform_bits_without_a_name_are_kept() -> None:
    assert parse(replace(guest().fields, platform_info=0x165)).platform_info == 0x165


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("reserved", RESERVED)
def test_reserved_bytes_are_zero_in_their_versions(
    version: int, reserved: tuple[int, int, tuple[int, ...]]
) -> None:
    offset, size, versions = reserved
    no_cpu = (0, 0, 0) if version == 2 else (0x19, 0x11, 1)
    family, model, stepping = no_cpu
    fields = replace(
        guest().fields, version=version, cpuid_family=family, cpuid_model=model, cpuid_stepping=stepping
    )
    for position in (offset, offset + size - 1):
        changed = bytearray(guest().sign(fields))
        changed[position] ^= 0x80
        if version in versions:
            with pytest.raises(ReportError, match="zero bytes"):
                parse_report(bytes(changed))
        else:
            assert parse_report(bytes(changed)).version == version


GOOD = guest().fields


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (replace(GOOD, version=1), "version"),
        (replace(GOOD, version=6), "version"),
        (replace(GOOD, policy=0), "bit 17"),
        (replace(GOOD, policy=1 << 26 | 1 << 17), "above 25"),
        (replace(GOOD, key_info=1 << 5), "5 bits"),
        (replace(GOOD, key_info=2 << 2), "signing key"),
        (replace(GOOD, signature_algorithm=2), "algorithm"),
        (replace(GOOD, vmpl=4), "VMPL"),
    ],
)
def test_unknown_choices_are_refused(fields: ReportFields, complaint: str) -> None:
    with pytest.raises(ReportError, match=complaint):
        parse(fields)


def test_report_requested_by_the_host_is_read() -> None:
    assert parse(replace(guest().fields, vmpl=0xFFFFFFFF)).vmpl == 0xFFFFFFFF


def test_patch_levels_are_read_in_the_layout_of_the_product() -> None:
    encoded = bytes.fromhex("0102030000000009")
    assert decode_tcb(encoded[:2] + bytes(4) + b"\x08\x09", Product.GENOA).describe() == (
        "bootloader 1, tee 2, snp 8, microcode 9"
    )
    assert decode_tcb(encoded[:3] + b"\x04" + encoded[4:], Product.TURIN).describe() == (
        "fmc 1, bootloader 2, tee 3, snp 4, microcode 9"
    )
    for product, wrong in ((Product.GENOA, encoded), (Product.TURIN, bytes.fromhex("0102030401000009"))):
        with pytest.raises(TcbError, match=product.value):
            decode_tcb(wrong, product)
    with pytest.raises(TcbError):
        decode_tcb(bytes(7), Product.MILAN)


def test_every_component_counts_for_a_floor() -> None:
    """One number for all would let a high microcode make up for an old bootloader."""
    floor = decode_tcb(bytes.fromhex("0a00000000001754"), Product.GENOA)
    assert floor.covers(floor)
    assert not decode_tcb(bytes.fromhex("090000000000ffff"), Product.GENOA).covers(floor)


@pytest.mark.parametrize(
    ("family", "model", "product"),
    [
        (0x19, 0x0F, Product.MILAN),
        (0x19, 0x10, Product.GENOA),
        (0x19, 0xAF, Product.GENOA),
        (0x19, 0x20, None),
        (0x1A, 0x02, Product.TURIN),
        (0x1A, 0x12, None),
        (0x17, 0x01, None),
    ],
)
def test_processors(family: int, model: int, product: Product | None) -> None:
    assert product_of_cpu(family, model) is product
