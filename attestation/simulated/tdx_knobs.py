# SPDX-License-Identifier: Apache-2.0
"""Every way in which the simulated TDX machine, its quote or its collateral can be wrong."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from attestation.simulated import td_quote
from attestation.simulated.collateral import STALE_EVALUATION_DATA_NUMBER, QeIdentity, TcbInfo
from attestation.simulated.event_log import EVENTS, EventLog
from attestation.simulated.intel import ATTACKER, Certified, TdxSetting
from attestation.simulated.intel_certificates import PROCESSOR_CA
from attestation.simulated.knobs import Knob
from attestation.simulated.td_quote import QeFields, QuoteFields, TdAttributes, TdFields
from attestation.simulated.tdx_statuses import with_version_5
from attestation.simulated.window import EXPIRED, FUTURE

Change: TypeAlias = Callable[[TdxSetting], TdxSetting]
TdxKnob: TypeAlias = Knob[TdxSetting]


# Processor features for the guest's own use, by which the host gains nothing.
_HARMLESS: Final = TdAttributes.LASS | TdAttributes.PKS | TdAttributes.KEY_LOCKER


def _quote(change: Callable[[QuoteFields], QuoteFields]) -> Change:
    return lambda setting: replace(setting, quote=change(setting.quote))


def _td(change: Callable[[TdFields], TdFields]) -> Change:
    return _quote(lambda quote: replace(quote, td=change(quote.td)))


def _td_of_version_5(change: Callable[[TdFields], TdFields]) -> Change:
    return lambda setting: _td(change)(with_version_5(setting))


def _qe(change: Callable[[QeFields], QeFields]) -> Change:
    return lambda setting: replace(setting, qe=change(setting.qe))


def _tcb_info(change: Callable[[TcbInfo], TcbInfo]) -> Change:
    return lambda setting: replace(setting, tcb_info=change(setting.tcb_info))


def _identity(change: Callable[[QeIdentity], QeIdentity]) -> Change:
    return lambda setting: replace(setting, qe_identity=change(setting.qe_identity))


def _svn(index: int, value: int) -> Change:
    """A trust domain of a TDX module with another version at `index`."""

    def changed(td: TdFields) -> TdFields:
        svn = bytearray(td.tee_tcb_svn)
        svn[index] = value
        return replace(td, tee_tcb_svn=bytes(svn), tee_tcb_svn2=bytes(svn))

    return _td(changed)


def _attribute(bit: TdAttributes) -> TdxKnob:
    change = _td(lambda td: replace(td, td_attributes=td.td_attributes | bit))
    meaning = f"a trust domain with the attribute {bit.name}"
    return Knob("B2", change, meaning, accepted=bit in _HARMLESS)


def _attribute_name(bit: TdAttributes) -> str:
    return f"attribute-{(bit.name or '').lower().replace('_', '-')}"


def _revoked(certified: Certified) -> TdxKnob:
    return Knob(
        "T6", lambda setting: replace(setting, revoked=frozenset({certified})), f"{certified.value} revoked"
    )


def _stale(setting: TdxSetting) -> TdxSetting:
    old = STALE_EVALUATION_DATA_NUMBER
    return replace(
        setting,
        tcb_info=replace(setting.tcb_info, evaluation_data_number=old),
        qe_identity=replace(setting.qe_identity, evaluation_data_number=old),
    )


def _hexadecimal(setting: TdxSetting) -> TdxSetting:
    named = replace(setting.tcb_info, module_identities=("TDX_10",))
    return _svn(1, 0x10)(replace(setting, tcb_info=named))


_TRUST_DOMAIN: Final[dict[str, TdxKnob]] = {
    **{
        _attribute_name(bit): _attribute(bit)
        for bit in TdAttributes
        if bit is not TdAttributes.SEPT_VE_DISABLE
    },
    "attribute-sept-ve-enabled": Knob(
        "B2",
        _td(lambda td: replace(td, td_attributes=0)),
        "a trust domain into which the host can inject virtualisation exceptions",
    ),
    "attribute-reserved": Knob(
        "B2",
        _td(lambda td: replace(td, td_attributes=td.td_attributes | 1 << 40)),
        "a trust domain with an attribute without a known meaning",
    ),
    "xfam": Knob(
        "B3",
        _td(lambda td: replace(td, xfam=0xE7)),
        "fewer processor features than usual, which a verifier reports",
        accepted=True,
    ),
    "mrtd": Knob("B4", _td(lambda td: replace(td, mrtd=bytes([0xBA]) * 48)), "other firmware"),
    "kernel": Knob(
        "B4",
        lambda setting: replace(
            setting, log=EventLog((*EVENTS[:3], replace(EVENTS[3], measured=b"other"), *EVENTS[4:]))
        ),
        "another kernel under the same MRTD: RTMR1 differs, and the event log agrees with it",
    ),
    "log-short": Knob(
        "B5",
        lambda setting: replace(setting, logged=EventLog(setting.log.events[:-1])),
        "an event log that leaves out what was measured last",
    ),
    "log-changed": Knob(
        "B5",
        lambda setting: replace(
            setting,
            logged=EventLog((*setting.log.events[:-1], replace(setting.log.events[-1], content=b"harmless"))),
        ),
        "an event log with another last event than was measured",
    ),
    "mrconfigid": Knob("B6", _td(lambda td: replace(td, mrconfigid=bytes([1]) * 48)), "MRCONFIGID not zero"),
    "mrowner": Knob("B6", _td(lambda td: replace(td, mrowner=bytes([1]) * 48)), "MROWNER not zero"),
    "mrownerconfig": Knob(
        "B6", _td(lambda td: replace(td, mrownerconfig=bytes([1]) * 48)), "MROWNERCONFIG not zero"
    ),
    "mrservicetd": Knob(
        "B7",
        _td_of_version_5(lambda td: replace(td, mrservicetd=bytes([1]) * 48)),
        "a service domain that can move this trust domain to another machine",
    ),
}

_FORM: Final[dict[str, TdxKnob]] = {
    "version-6": Knob("T1", _quote(lambda quote: replace(quote, version=6)), "a quote of an unknown version"),
    "vendor-id": Knob(
        "T1", _quote(lambda quote: replace(quote, vendor_id=bytes(16))), "a quoting enclave of another vendor"
    ),
    "key-type": Knob(
        "T1", _quote(lambda quote: replace(quote, attestation_key_type=3)), "a key type that is reserved"
    ),
    "tee-type": Knob("T1", _quote(lambda quote: replace(quote, tee_type=0)), "a quote that says it is SGX's"),
    "reserved": Knob(
        "T1", _quote(lambda quote: replace(quote, reserved=b"\x01\x00\x00\x00")), "reserved header bytes set"
    ),
    "body-size": Knob(
        "T1",
        lambda setting: _quote(lambda quote: replace(quote, body_size=584))(with_version_5(setting)),
        "a body type that disagrees with the body's size",
    ),
    "signature-size": Knob(
        "T1",
        _quote(lambda quote: replace(quote, signature_size=0xFFFFFFF0)),
        "signature data longer than the quote",
    ),
    "cut-short": Knob("T1", _quote(lambda quote: replace(quote, cut=1)), "a quote without its last byte"),
    "trailing-bytes": Knob(
        "T1", _quote(lambda quote: replace(quote, trailing=b"A" * 64)), "64 bytes that nobody signed"
    ),
    "padding": Knob(
        "T1",
        _quote(lambda quote: replace(quote, trailing=bytes(64))),
        "zeros after the quote, as real collectors leave them",
        accepted=True,
    ),
    "processor-ca": Knob(
        "T5",
        lambda setting: replace(setting, pck_issuer=PROCESSOR_CA),
        "a platform whose key Intel's other intermediate certified",
        accepted=True,
    ),
    "chain-type": Knob(
        "T5", _quote(lambda quote: replace(quote, chain_type=1)), "an identifier in place of the PCK chain"
    ),
    "certification-type": Knob(
        "T1",
        _quote(lambda quote: replace(quote, certification_type=td_quote.PEM_CHAIN)),
        "certification data without the quoting enclave's report",
    ),
}

_SIGNATURES: Final[dict[str, TdxKnob]] = {
    "body-changed": Knob(
        "T2",
        _quote(lambda quote: replace(quote, patches=((200, b"\xff" * 8),))),
        "bytes of MRTD changed after they were signed",
    ),
    "key-swap": Knob(
        "T3",
        lambda setting: replace(setting, signing_key=ATTACKER),
        "a quote signed by a key that the quoting enclave does not know",
    ),
    "commitment": Knob(
        "T3", _qe(lambda qe: replace(qe, commitment=bytes(32))), "a quoting enclave that commits to no key"
    ),
    "commitment-tail": Knob(
        "T3",
        _qe(lambda qe: replace(qe, after_commitment=bytes([1]) * 32)),
        "bytes after the commitment that must be zero",
    ),
    "qe-signature": Knob(
        "T4",
        lambda setting: replace(setting, qe_signed_by=ATTACKER),
        "a report of the quoting enclave that the platform's key did not sign",
    ),
    "wrong-root": Knob(
        "T5",
        lambda setting: replace(setting, chain_authority=ATTACKER, collateral_authority=ATTACKER),
        "a perfect chain with its collateral under another root",
    ),
    "wrong-root-of-chain": Knob(
        "T5", lambda setting: replace(setting, chain_authority=ATTACKER), "a perfect chain under another root"
    ),
    "wrong-root-of-collateral": Knob(
        "T14",
        lambda setting: replace(setting, collateral_authority=ATTACKER),
        "collateral under another root than the chain's",
    ),
}

_DATES: Final[dict[str, TdxKnob]] = {
    "expired-root": Knob("T5", lambda setting: replace(setting, root_window=EXPIRED), "root expired"),
    "expired-platform-ca": Knob(
        "T5", lambda setting: replace(setting, platform_ca_window=EXPIRED), "Platform CA expired"
    ),
    "expired-pck": Knob(
        "T5", lambda setting: replace(setting, pck_window=EXPIRED), "PCK certificate expired"
    ),
    "future-pck": Knob(
        "T5", lambda setting: replace(setting, pck_window=FUTURE), "PCK certificate not yet valid"
    ),
    "expired-tcb-signing": Knob(
        "T7", lambda setting: replace(setting, tcb_signing_window=EXPIRED), "TCB signing certificate expired"
    ),
    "expired-root-crl": Knob(
        "T6", lambda setting: replace(setting, root_crl_window=EXPIRED), "the root's revocation list expired"
    ),
    "expired-pck-crl": Knob(
        "T6", lambda setting: replace(setting, pck_crl_window=EXPIRED), "the PCK revocation list expired"
    ),
    "expired-tcb-info": Knob(
        "T7", _tcb_info(lambda info: replace(info, window=EXPIRED)), "TCB info past its next update"
    ),
    "future-tcb-info": Knob(
        "T7", _tcb_info(lambda info: replace(info, window=FUTURE)), "TCB info of the future"
    ),
    "expired-qe-identity": Knob(
        "T8",
        _identity(lambda identity: replace(identity, window=EXPIRED)),
        "QE identity past its next update",
    ),
}

_COLLATERAL: Final[dict[str, TdxKnob]] = {
    "revoked-pck": _revoked(Certified.PCK),
    "revoked-platform-ca": _revoked(Certified.PLATFORM_CA),
    "revoked-tcb-signing": _revoked(Certified.TCB_SIGNING),
    "fmspc": Knob(
        "T7",
        _tcb_info(lambda info: replace(info, fmspc=bytes.fromhex("00806f050000"))),
        "TCB info of another FMSPC",
    ),
    "pceid": Knob("T7", _tcb_info(lambda info: replace(info, pce_id=b"\x00\x01")), "TCB info of another PCE"),
    "tcb-info-of-sgx": Knob("T7", _tcb_info(lambda info: replace(info, identity="SGX")), "TCB info for SGX"),
    "tcb-info-version": Knob(
        "T7", _tcb_info(lambda info: replace(info, version=2)), "TCB info of an old version"
    ),
    "tcb-info-changed": Knob(
        "T7",
        lambda setting: replace(setting, tampered=(b'"OutOfDate"', b'"UpToDate" ')),
        "TCB info changed after it was signed",
    ),
    "stale-collateral": Knob("T14", _stale, "collateral of an evaluation below any reasonable floor"),
    "evaluations-differ": Knob(
        "T14",
        _identity(lambda identity: replace(identity, evaluation_data_number=20)),
        "TCB info and QE identity of different evaluations",
    ),
}

_ENCLAVES: Final[dict[str, TdxKnob]] = {
    "qe-signer": Knob(
        "T8", _qe(lambda qe: replace(qe, mrsigner=bytes(32))), "a quoting enclave of another signer"
    ),
    "qe-product": Knob("T8", _qe(lambda qe: replace(qe, product_id=1)), "another enclave of the same signer"),
    "qe-debug": Knob(
        "T8",
        _qe(lambda qe: replace(qe, attributes=bytes((qe.attributes[0] | 2,)) + qe.attributes[1:])),
        "a quoting enclave that allows debugging",
    ),
    "qe-misc-select": Knob(
        "T8", _qe(lambda qe: replace(qe, misc_select=1)), "a quoting enclave with other state"
    ),
    "qe-out-of-date": Knob("T8", _qe(lambda qe: replace(qe, svn=6)), "an old quoting enclave: OutOfDate"),
    "qe-revoked": Knob("T8", _qe(lambda qe: replace(qe, svn=1)), "a revoked quoting enclave: Revoked"),
    "qe-below-levels": Knob("T8", _qe(lambda qe: replace(qe, svn=0)), "a quoting enclave below every level"),
    "qe-identity-of-sgx": Knob(
        "T8",
        _identity(lambda identity: replace(identity, identity="QE")),
        "the identity of SGX's quoting enclave",
    ),
    "seam-signer": Knob(
        "T9", _td(lambda td: replace(td, mrsignerseam=bytes([1]) * 48)), "a TDX module of another signer"
    ),
    "seam-attributes": Knob(
        "T9", _td(lambda td: replace(td, seam_attributes=1)), "a TDX module that is not for production"
    ),
    "module-unknown": Knob("T9", _svn(1, 9), "a TDX module generation without an identity"),
    "module-hexadecimal": Knob(
        "T9", _hexadecimal, "a TDX module of generation 16, whose identity is TDX_10", accepted=True
    ),
    "module-out-of-date": Knob("T9", _svn(0, 3), "an old TDX module: OutOfDate"),
    "module-revoked": Knob("T9", _svn(0, 1), "a revoked TDX module: Revoked"),
}

TDX_KNOBS: Final[Mapping[str, TdxKnob]] = MappingProxyType(
    _TRUST_DOMAIN | _FORM | _SIGNATURES | _DATES | _COLLATERAL | _ENCLAVES
)
