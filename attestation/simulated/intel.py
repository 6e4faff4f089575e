# SPDX-License-Identifier: Apache-2.0
"""The simulated Intel: its keys from a seed, one platform, and what it publishes (attestation.md 12).

`TdxSetting` is everything there is to choose. A test replaces one field of it, and `SimulatedIntel.power_on`
makes a trust domain whose quote and collateral are byte for byte in Intel's forms, and right but for that.
Everything is deterministic: the same seed and setting give the same bytes, signatures included (RFC 6979).
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from attestation.simulated import intel_certificates as certificates
from attestation.simulated import seed as seeds
from attestation.simulated.collateral import Collateral, QeIdentity, TcbInfo
from attestation.simulated.event_log import EventLog
from attestation.simulated.intel_certificates import Holder, to_pem
from attestation.simulated.pck import Platform
from attestation.simulated.td_quote import Certification, QeFields, QuoteFields, encode_quote
from attestation.simulated.td_report import TdReport
from attestation.simulated.window import CURRENT, Window

# As long as Intel's: no clock within a working life is wrong for the authorities.
ROOT_WINDOW: Final = Window(-8 * 365, 23 * 365)
AUTHORITY_WINDOW: Final = Window(-7 * 365, 7 * 365)
ROOT_LIST_WINDOW: Final = Window(-1, 365)
GENUINE: Final = "intel"
ATTACKER: Final = "attacker"


class Certified(Enum):
    """Whose certificate a revocation list can name."""

    PCK = certificates.PCK
    PLATFORM_CA = certificates.PLATFORM_CA
    PROCESSOR_CA = certificates.PROCESSOR_CA
    TCB_SIGNING = certificates.TCB_SIGNING


@dataclass(frozen=True, slots=True)
class TdxSetting:
    """A trust domain, the platform it runs on, and what Intel says about that at the time `at`.

    `chain_authority` and `collateral_authority` name who issued: another name is another set of keys.
    `signing_key` is the attestation key that signs; the quoting enclave commits to the one called "quote".
    `qe_signed_by` is the key that signs the quoting enclave's report. `pck_issuer` is the intermediate.
    `tampered` replaces bytes in TCB info after its signature was made.
    """

    at: int
    quote: QuoteFields = field(default=QuoteFields())
    qe: QeFields = field(default=QeFields())
    platform: Platform = field(default=Platform())
    log: EventLog = field(default=EventLog())
    logged: EventLog | None = None
    tcb_info: TcbInfo = field(default=TcbInfo())
    qe_identity: QeIdentity = field(default=QeIdentity())
    revoked: frozenset[Certified] = frozenset()
    root_window: Window = ROOT_WINDOW
    platform_ca_window: Window = AUTHORITY_WINDOW
    pck_window: Window = AUTHORITY_WINDOW
    tcb_signing_window: Window = AUTHORITY_WINDOW
    root_crl_window: Window = ROOT_LIST_WINDOW
    pck_crl_window: Window = CURRENT
    chain_authority: str = GENUINE
    collateral_authority: str = GENUINE
    signing_key: str = "quote"
    qe_signed_by: str = certificates.PCK
    pck_issuer: str = certificates.PLATFORM_CA
    tampered: tuple[bytes, bytes] = (b"", b"")


@dataclass(frozen=True, slots=True)
class SimulatedTd:
    """A trust domain that was started. It holds its machine's attestation key, and none of Intel's.

    `root` is the certificate a verifier must pin. `event_log` is what the guest shows; `fields` has the
    registers of the log that was measured.
    """

    chain: tuple[bytes, bytes, bytes]
    root: bytes
    collateral: Collateral
    event_log: bytes
    fields: QuoteFields
    certification: Certification
    cpu_svn: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    mac_key: bytes = field(repr=False)

    @property
    def root_fingerprint(self) -> bytes:
        """SHA-256 of the root's public key."""
        return certificates.fingerprint(self.root)

    def evidence_quote(self, report_data: bytes) -> bytes:
        """The quote of this trust domain over 64 bytes of its choice."""
        return self.sign(self._over(report_data))

    def sign(self, fields: QuoteFields) -> bytes:
        """A properly signed quote with any fields at all."""
        signature = seeds.sign_raw(self.key, fields.signed())
        return encode_quote(fields, seeds.point(self.key), signature, self.certification)

    def td_report(self, report_data: bytes) -> bytes:
        """The TDREPORT that such a quote is made of."""
        return TdReport(self._over(report_data).td, self.cpu_svn, self.mac_key).encode()

    def _over(self, report_data: bytes) -> QuoteFields:
        return replace(self.fields, td=replace(self.fields.td, report_data=report_data))


@dataclass(frozen=True, slots=True)
class SimulatedIntel:
    """A vendor in Intel's place. Whoever knows the seed can forge any quote of it."""

    seed: bytes = field(repr=False)

    def root(self, at: int, authority: str = GENUINE) -> bytes:
        """The DER certificate of the root to pin. Its key depends on the seed alone, its dates on `at`."""
        return self._root(authority, ROOT_WINDOW, at)

    def power_on(self, setting: TdxSetting) -> SimulatedTd:
        """Start a trust domain in this setting."""
        chain = self._chain(setting)
        key = self._key(GENUINE, setting.signing_key)
        return SimulatedTd(
            chain=chain,
            root=self.root(setting.at),
            collateral=self._collateral(setting),
            event_log=(setting.logged or setting.log).encode(),
            fields=_measured(setting),
            certification=self._certification(setting, chain),
            cpu_svn=setting.platform.components,
            key=key,
            mac_key=seeds.derive(self.seed, b"mac key")[:32],
        )

    def _chain(self, setting: TdxSetting) -> tuple[bytes, bytes, bytes]:
        """PCK, Platform CA and root."""
        who, at = setting.chain_authority, setting.at
        root, platform_ca, pck = (
            self._holder(who, name) for name in (certificates.ROOT, setting.pck_issuer, certificates.PCK)
        )
        leaf = certificates.certify(
            pck, platform_ca, setting.pck_window.around(at), sgx=setting.platform.extension()
        )
        intermediate = certificates.certify(platform_ca, root, setting.platform_ca_window.around(at))
        return leaf, intermediate, self._root(who, setting.root_window, at)

    def _root(self, authority: str, window: Window, at: int) -> bytes:
        root = self._holder(authority, certificates.ROOT)
        return certificates.certify(root, root, window.around(at))

    def _certification(self, setting: TdxSetting, chain: tuple[bytes, ...]) -> Certification:
        committed = seeds.point(self._key(GENUINE, "quote"))
        report = setting.qe.encode(committed)
        signature = seeds.sign_raw(self._key(setting.chain_authority, setting.qe_signed_by), report)
        pem = to_pem(*chain).encode("ascii") + b"\x00"
        return Certification(report, signature, setting.qe.authentication, pem)

    def _collateral(self, setting: TdxSetting) -> Collateral:
        who, at = setting.collateral_authority, setting.at
        root, platform_ca, signing = (
            self._holder(who, name)
            for name in (certificates.ROOT, setting.pck_issuer, certificates.TCB_SIGNING)
        )
        root_der = self._root(who, setting.root_window, at)
        intermediate = certificates.certify(platform_ca, root, setting.platform_ca_window.around(at))
        signer = certificates.certify(signing, root, setting.tcb_signing_window.around(at))
        signer_chain = to_pem(signer, root_der)
        tcb_info, qe_identity = setting.tcb_info.encode(at), setting.qe_identity.encode(at)
        below_root = setting.revoked - {Certified.PCK}
        return Collateral(
            pck_crl_issuer_chain=to_pem(intermediate, root_der),
            root_ca_crl=certificates.revocation_list(
                root, setting.root_crl_window.around(at), self._serials(setting, below_root)
            ),
            pck_crl=certificates.revocation_list(
                platform_ca,
                setting.pck_crl_window.around(at),
                self._serials(setting, setting.revoked - below_root),
            ),
            tcb_info_issuer_chain=signer_chain,
            tcb_info=tcb_info.replace(*setting.tampered) if any(setting.tampered) else tcb_info,
            tcb_info_signature=seeds.sign_raw(signing.key, tcb_info),
            qe_identity_issuer_chain=signer_chain,
            qe_identity=qe_identity,
            qe_identity_signature=seeds.sign_raw(signing.key, qe_identity),
        )

    def _serials(self, setting: TdxSetting, revoked: frozenset[Certified]) -> tuple[int, ...]:
        who = setting.collateral_authority
        return tuple(sorted(self._holder(who, certified.value).serial for certified in revoked))

    def _holder(self, authority: str, name: str) -> Holder:
        return Holder(name, self._key(authority, name))

    def _key(self, authority: str, name: str) -> ec.EllipticCurvePrivateKey:
        return seeds.derive_key(self.seed, f"{authority} {name}".encode(), ec.SECP256R1())


def _measured(setting: TdxSetting) -> QuoteFields:
    """The quote's fields with the registers that the machine's own log gives."""
    rtmr0, rtmr1, rtmr2, rtmr3 = setting.log.registers()
    td = replace(setting.quote.td, rtmr0=rtmr0, rtmr1=rtmr1, rtmr2=rtmr2, rtmr3=rtmr3)
    return replace(setting.quote, td=td)
