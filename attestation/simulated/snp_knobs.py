# SPDX-License-Identifier: Apache-2.0
"""Every way in which the simulated SEV-SNP machine, its report or its certificates can be wrong."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from attestation.simulated.amd import ATTACKER, SnpSetting
from attestation.simulated.certificates import ROOT_SERIALS, intermediate_serial
from attestation.simulated.knobs import Knob
from attestation.simulated.snp import ReportFields
from attestation.simulated.window import EXPIRED, FUTURE
from attestation.snp.product import TCB_OFFSETS, Product
from attestation.snp.report import RESERVED, VERSIONS, GuestPolicy, PlatformInfo, SigningKey

Change: TypeAlias = Callable[[SnpSetting], SnpSetting]
SnpKnob: TypeAlias = Knob[SnpSetting]

_SIGNATURE_R: Final = 0x2A0
_SIGNATURE_R_REST: Final = 0x2D0
_UNSIGNED_TAIL: Final = 0x330
_RESERVED_BYTE: Final = 0x04C
_RESERVED_BEYOND_MITIGATIONS: Final = 0x208
_RESERVED_TCB_BYTE: Final = 5


def _report(change: Callable[[ReportFields], ReportFields]) -> Change:
    return lambda setting: replace(setting, fields=change(setting.fields))


def _patched(offset: int, content: bytes) -> Change:
    return _report(lambda fields: replace(fields, patches=(*fields.patches, (offset, content))))


def _newer_report(setting: SnpSetting) -> SnpSetting:
    """A report of a higher patch level than the certificate's."""
    offset = TCB_OFFSETS[setting.product]["snp"]
    tcb = bytearray(setting.fields.reported_tcb)
    tcb[offset] += 1
    return replace(setting, fields=replace(setting.fields, reported_tcb=bytes(tcb)))


def _old_firmware(setting: SnpSetting) -> SnpSetting:
    """Firmware below any floor, and certified as such."""
    offset = TCB_OFFSETS[setting.product]["snp"]
    old = bytearray(setting.certified_tcb)
    old[offset] = 1
    tcb = bytes(old)
    levels = replace(setting.fields, reported_tcb=tcb, current_tcb=tcb, committed_tcb=tcb, launch_tcb=tcb)
    return replace(setting, fields=levels, certified_tcb=tcb)


def _other_key(setting: SnpSetting) -> SnpSetting:
    """A report that names the other kind of key than the one that signed."""
    claimed = SigningKey.VLEK if setting.signing_key is SigningKey.VCEK else SigningKey.VCEK
    return replace(setting, fields=replace(setting.fields, key_info=claimed << 2))


def _other_product(setting: SnpSetting) -> SnpSetting:
    """A report whose processor is of another generation than its certificates, where reports say so."""
    family = 0x1A if setting.product is not Product.TURIN else 0x19
    model = 0x02 if setting.product is not Product.TURIN else 0x11
    return replace(
        setting,
        fields=replace(
            setting.fields, version=max(setting.fields.version, 3), cpuid_family=family, cpuid_model=model
        ),
    )


def _reserved_by_version(setting: SnpSetting) -> SnpSetting:
    """Bytes that this version of the report reserves, and another does not."""
    version = setting.fields.version
    reserved = (offset for offset, _, versions in RESERVED if version in versions and versions != VERSIONS)
    offset = next(reserved, _RESERVED_BEYOND_MITIGATIONS)
    return _patched(offset, b"\x01")(setting)


def _revoked_intermediate(setting: SnpSetting) -> SnpSetting:
    return replace(setting, revoked=(intermediate_serial(setting.product, setting.signing_key),))


_REPORT: Final[dict[str, SnpKnob]] = {
    "measurement": Knob(
        "A2", _report(lambda fields: replace(fields, measurement=bytes([0xBA]) * 48)), "other code"
    ),
    "debug": Knob(
        "A3",
        _report(lambda fields: replace(fields, policy=fields.policy | GuestPolicy.DEBUG)),
        "a guest whose memory the host can read",
    ),
    "migrate-ma": Knob(
        "A4",
        _report(lambda fields: replace(fields, policy=fields.policy | GuestPolicy.MIGRATION_AGENT)),
        "a guest that a migration agent can move",
    ),
    "vmpl-3": Knob("A5", _report(lambda fields: replace(fields, vmpl=3)), "a report asked for by user code"),
    "mask-chip-key": Knob(
        "A6",
        _report(lambda fields: replace(fields, key_info=fields.key_info | 0b10)),
        "a signed report that says that nothing signs",
    ),
    "old-firmware": Knob("A7", _old_firmware, "firmware with published holes"),
    "alias-check": Knob(
        "A9",
        _report(
            lambda fields: replace(
                fields, platform_info=fields.platform_info & ~PlatformInfo.ALIAS_CHECK_COMPLETE
            )
        ),
        "memory that was not checked for aliases",
    ),
    "unknown-platform-bit": Knob(
        "A9",
        _report(
            lambda fields: replace(fields, platform_info=fields.platform_info | PlatformInfo.IOMMU_WRITE_SAFE)
        ),
        "a platform bit that is set on real Turin machines",
        accepted=True,
    ),
}

_FORM: Final[dict[str, SnpKnob]] = {
    "version-6": Knob(
        "S1", _report(lambda fields: replace(fields, version=6)), "a report of an unknown version"
    ),
    "cut-short": Knob("S1", _report(lambda fields: replace(fields, cut=1)), "a report without its last byte"),
    "trailing-bytes": Knob(
        "S1", _report(lambda fields: replace(fields, trailing=b"A" * 64)), "64 bytes that nobody signed"
    ),
    "reserved": Knob("S2", _patched(_RESERVED_BYTE, b"\x01"), "a reserved byte set, and signed"),
    "reserved-by-version": Knob(
        "S2",
        _reserved_by_version,
        "a byte set that means something in other versions of the report, if in any",
    ),
    "policy-bit-17": Knob(
        "S2",
        _report(lambda fields: replace(fields, policy=fields.policy & ~GuestPolicy.RESERVED_ONE)),
        "a guest policy without the bit that must be one",
    ),
    "policy-bit-26": Knob(
        "S2",
        _report(lambda fields: replace(fields, policy=fields.policy | 1 << 26)),
        "a reserved policy bit set",
    ),
    "signature-algorithm": Knob(
        "S2", _report(lambda fields: replace(fields, signature_algorithm=2)), "an unknown signature algorithm"
    ),
    "signature": Knob("S3", _patched(_SIGNATURE_R, bytes(48)), "a signature of which one half is zero"),
    "signature-padding": Knob("S3", _patched(_SIGNATURE_R_REST, b"\x01"), "a number longer than its curve"),
    "tail": Knob("S4", _patched(_UNSIGNED_TAIL, b"\x01"), "a byte changed where nobody signs"),
    "tcb-reserved": Knob(
        "S9",
        _report(
            lambda fields: replace(
                fields,
                reported_tcb=fields.reported_tcb[:_RESERVED_TCB_BYTE]
                + b"\x01"
                + fields.reported_tcb[_RESERVED_TCB_BYTE + 1 :],
            )
        ),
        "a patch level with a byte that its product reserves",
    ),
}

_IDENTITY: Final[dict[str, SnpKnob]] = {
    "other-key-claimed": Knob("S5", _other_key, "a report that names another kind of key than signed it"),
    "no-key-claimed": Knob(
        "S5",
        _report(lambda fields: replace(fields, key_info=SigningKey.NONE << 2)),
        "a signed report that names no key",
    ),
    "wrong-root": Knob(
        "S6", lambda setting: replace(setting, authority=ATTACKER), "a perfect chain under another root"
    ),
    "tcb": Knob("S9", _newer_report, "a report of newer firmware than its key is certified for"),
    "other-chip": Knob(
        "S10",
        _report(lambda fields: replace(fields, chip_id=bytes([5]) * len(fields.chip_id))),
        "another chip's identity, which under a VLEK only a list of machines can notice",
    ),
    "masked-chip": Knob(
        "S10",
        _report(lambda fields: replace(fields, chip_id=bytes(len(fields.chip_id)))),
        "an identity the host masked",
    ),
    "other-product": Knob("S11", _other_product, "a processor of another generation than its certificates"),
}

_CERTIFICATES: Final[dict[str, SnpKnob]] = {
    "expired-leaf": Knob(
        "S7", lambda setting: replace(setting, leaf_window=EXPIRED), "leaf certificate expired"
    ),
    "future-leaf": Knob(
        "S7", lambda setting: replace(setting, leaf_window=FUTURE), "leaf certificate not yet valid"
    ),
    "expired-crl": Knob(
        "S8", lambda setting: replace(setting, list_window=EXPIRED), "revocation list expired"
    ),
    "future-crl": Knob(
        "S8", lambda setting: replace(setting, list_window=FUTURE), "revocation list of the future"
    ),
    "revoked-intermediate": Knob("S8", _revoked_intermediate, "the leaf's issuer revoked"),
    "revoked-root": Knob(
        "S8", lambda setting: replace(setting, revoked=(ROOT_SERIALS[setting.product],)), "the root revoked"
    ),
    "revoked-leaf": Knob(
        "S8",
        lambda setting: replace(setting, revokes_leaf=True),
        "serial 0 of the leaf's issuer revoked, in an entry that names that issuer and is critical",
    ),
    "revoked-other": Knob(
        "S8",
        lambda setting: replace(setting, revoked=(9,)),
        "a list that names certificates, none of them in this chain",
        accepted=True,
    ),
}

SNP_KNOBS: Final[Mapping[str, SnpKnob]] = MappingProxyType(_REPORT | _FORM | _IDENTITY | _CERTIFICATES)
