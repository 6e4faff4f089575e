# SPDX-License-Identifier: Apache-2.0
"""Simulated evidence as files that other programs read, with what a correct verifier must say of it."""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from attestation.policy import AnyModel, Measurement, Policy, SimulatedRoots, SnpPolicy, render_policy
from attestation.simulated.amd import SnpSetting
from attestation.simulated.certificates import CSP_NAME, LEAF_NAMES
from attestation.simulated.intel import SimulatedTd, TdxSetting
from attestation.simulated.intel_certificates import to_pem
from attestation.simulated.snp import SimulatedGuest
from attestation.snp.report import SigningKey
from attestation.tdx.policy import TdMeasurement, TdxPolicy

README: Final = "README.md"
FILE_MODE: Final = 0o644
# AMD 56421: what the certificate table of an extended guest request holds, by identifier.
TABLE_IDENTIFIERS: Final[Mapping[SigningKey, str]] = {
    SigningKey.VCEK: "63da758d-e664-4564-adc5-f4b93be8accd",
    SigningKey.VLEK: "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
}
_INTERMEDIATE: Final = "4ab7b379-bbac-4fe4-a02f-05aef327c782"
_ROOT: Final = "c0b406a4-a803-4952-9743-3fb6014cd0ae"
_TABLE_ENTRY_SIZE: Final = 24

_INTRODUCTION: Final = """# Simulated evidence

Made by `python -m attestation.simulated`, under a root of its own: it proves nothing about any machine.

- what: {what}
- time to judge it at: {at} ({moment})
- SHA-256 of the root's public key: {root}
- a correct verifier, told to accept this root and the rest of this evidence as it is when nothing is spoiled:
  **{verdict}**

"""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the reader of the files must know."""

    what: str
    at: int
    root: str
    verdict: str


def snp_files(guest: SimulatedGuest, setting: SnpSetting, report_data: bytes) -> dict[str, bytes]:
    """The report, its three certificates, the list, the host's table of certificates, and a policy."""
    leaf, intermediate, root = guest.chain
    kind = LEAF_NAMES[setting.signing_key].removeprefix("SEV-").lower()
    return {
        "report.bin": guest.sign(replace(setting.fields, report_data=report_data)),
        f"{kind}.der": leaf,
        "ask.der" if setting.signing_key is SigningKey.VCEK else "asvk.der": intermediate,
        "ark.der": root,
        "crl.der": guest.crl,
        "certificate_table.bin": certificate_table(guest, setting.signing_key),
    }


def snp_policy(good: SnpSetting, root_fingerprint: bytes) -> bytes:
    """The policy that accepts a setting that nothing spoils."""
    provider = frozenset({CSP_NAME} if good.signing_key is SigningKey.VLEK else ())
    policy = Policy(
        measurements=frozenset({Measurement(good.fields.measurement)}),
        machines=frozenset({good.fields.chip_id}),
        models=AnyModel.ANY_MODEL,
        products=frozenset({good.product}),
        simulated_roots=SimulatedRoots(frozenset({root_fingerprint})),
        snp=SnpPolicy(providers=provider),
    )
    return render_policy(policy).encode("utf-8")


def tdx_policy(good: TdxSetting, root_fingerprint: bytes) -> bytes:
    """The policy that accepts a setting that nothing spoils."""
    td = good.quote.td
    rtmr0, rtmr1, rtmr2, rtmr3 = good.log.registers()
    policy = Policy(
        measurements=frozenset(),
        machines=frozenset(),
        models=AnyModel.ANY_MODEL,
        products=frozenset(),
        simulated_roots=SimulatedRoots(frozenset({root_fingerprint})),
        tdx=TdxPolicy(
            measurements=frozenset({TdMeasurement(td.mrtd, rtmr0, rtmr1, rtmr2, rtmr3)}),
            fmspcs=frozenset({good.platform.fmspc}),
            ppids=frozenset({good.platform.ppid}),
        ),
    )
    return render_policy(policy).encode("utf-8")


def tdx_files(domain: SimulatedTd, report_data: bytes) -> dict[str, bytes]:
    """The quote, what it was made of, the root to pin, Intel's statements, and the event log."""
    return {
        "quote.bin": domain.evidence_quote(report_data),
        "td_report.bin": domain.td_report(report_data),
        "root.der": domain.root,
        "pck_chain.pem": to_pem(*domain.chain).encode("ascii"),
        "collateral.json": domain.collateral.encode(),
        "event_log.bin": domain.event_log,
    }


def certificate_table(guest: SimulatedGuest, signing_key: SigningKey) -> bytes:
    """What a host gives the guest beside a report (attestation.md 3.2)."""
    names = (TABLE_IDENTIFIERS[signing_key], _INTERMEDIATE, _ROOT)
    offset = _TABLE_ENTRY_SIZE * (len(names) + 1)
    entries = list[bytes]()
    for name, certificate in zip(names, guest.chain, strict=True):
        sizes = offset.to_bytes(4, "little") + len(certificate).to_bytes(4, "little")
        entries.append(uuid.UUID(name).bytes_le + sizes)
        offset += len(certificate)
    return b"".join((*entries, bytes(_TABLE_ENTRY_SIZE), *guest.chain))


def write_files(folder: Path, files: Mapping[str, bytes], summary: Summary) -> None:
    """Write the files and a README about them, readable by everyone: there is no secret in them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (*files.items(), (README, _readme(files, summary))):
        draft = folder / f".{name}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(content)
        draft.replace(folder / name)


def _readme(files: Mapping[str, bytes], summary: Summary) -> bytes:
    moment = datetime.fromtimestamp(summary.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    introduction = _INTRODUCTION.format(
        what=summary.what, at=summary.at, moment=moment, root=summary.root, verdict=summary.verdict
    )
    return (introduction + _table(sorted(files.items()))).encode("utf-8")


def _table(files: Sequence[tuple[str, bytes]]) -> str:
    rows = (f"| {name} | {len(content)} | {sha256(content).hexdigest()} |\n" for name, content in files)
    return "| file | bytes | SHA-256 |\n|---|---|---|\n" + "".join(rows)
