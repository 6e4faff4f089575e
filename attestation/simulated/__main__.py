# SPDX-License-Identifier: Apache-2.0
"""`python -m attestation.simulated`: simulated evidence as files, and what a client needs to accept it."""

import os
import sys
from pathlib import Path

from attestation.simulated import arguments
from attestation.simulated.arguments import PolicyCommand, RootCommand, SnpCommand, TdxCommand, Wanted
from attestation.simulated.collateral import Status
from attestation.simulated.files import Summary, snp_files, snp_policy, tdx_files, tdx_policy, write_files
from attestation.simulated.folder import VendorError
from attestation.simulated.intel import SimulatedIntel, TdxSetting
from attestation.simulated.intel_certificates import fingerprint
from attestation.simulated.knobs import Knob, Setting
from attestation.simulated.snp_knobs import SNP_KNOBS
from attestation.simulated.td_quote import BodyType, QuoteFields, TdFields
from attestation.simulated.tdx_knobs import TDX_KNOBS
from attestation.simulated.tdx_statuses import with_status
from attestation.simulated.vendor import SimulatedVendor, code_measurement
from attestation.snp.report import SigningKey

_GOOD = "accepted"


def main(command_line: list[str] | None = None) -> None:
    """Run one command."""
    command = arguments.parse(command_line, default_folder())
    match command:
        case PolicyCommand():
            sys.stdout.write(_policy(command).decode("utf-8"))
        case RootCommand():
            sys.stdout.write(f"{_root(command).hex()}\n")
        case SnpCommand():
            _write_snp(command)
        case _:
            _write_tdx(command)


def default_folder() -> Path:
    """Where the simulated vendor lives unless told otherwise (XDG base directories)."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "sottovoce" / "simulated"


def _policy(command: PolicyCommand) -> bytes:
    """Accept one root, one machine and one measurement. Dates do not matter for that."""
    measurement = command.measurement or code_measurement(Path(__file__).parents[2])
    if command.tdx:
        good = TdxSetting(0, QuoteFields(TdFields(mrtd=measurement)))
        return tdx_policy(good, fingerprint(_intel(command.folder, command.seed).root(0)))
    vendor = _vendor(command.folder, command.seed)
    setting = vendor.setting(
        measurement, at=0, product=command.product, signing_key=_signing_key(vlek=command.vlek)
    )
    return snp_policy(setting, fingerprint(vendor.root(command.product)))


def _signing_key(*, vlek: bool) -> SigningKey:
    return SigningKey.VLEK if vlek else SigningKey.VCEK


def _root(command: RootCommand) -> bytes:
    """A root's fingerprint; its dates do not matter for that."""
    if command.tdx:
        return fingerprint(_intel(command.folder, command.seed).root(0))
    return fingerprint(_vendor(command.folder, command.seed).root(command.product))


def _write_snp(command: SnpCommand) -> None:
    wanted = command.wanted
    vendor = _vendor(wanted.folder, wanted.seed)
    signing_key = _signing_key(vlek=command.vlek)
    good = vendor.setting(
        wanted.measurement,
        at=wanted.at,
        product=command.product,
        version=command.version,
        signing_key=signing_key,
    )
    knob = SNP_KNOBS[wanted.spoil] if wanted.spoil else None
    setting = knob.change(good) if knob else good
    root = fingerprint(vendor.root(command.product))
    files = snp_files(vendor.start(setting), setting, wanted.report_data)
    files["policy.toml"] = snp_policy(good, root)
    what = f"SEV-SNP report version {command.version}, {command.product.value}, signed by {signing_key.name}"
    write_files(wanted.out, files, _summary(what, wanted, root, _verdict(knob, _GOOD)))


def _write_tdx(command: TdxCommand) -> None:
    wanted = command.wanted
    body_type = command.body_type if command.version == 5 else BodyType.TD_1_0
    quote = QuoteFields(TdFields(mrtd=wanted.measurement), version=command.version, body_type=body_type)
    good = with_status(TdxSetting(wanted.at, quote), command.status)
    knob = TDX_KNOBS[wanted.spoil] if wanted.spoil else None
    setting = knob.change(good) if knob else good
    domain = _intel(wanted.folder, wanted.seed).power_on(setting)
    what = f"TDX quote version {setting.quote.version}, body type {setting.quote.body_type.value}"
    verdict = _verdict(knob, _said_of(command.status))
    summary = _summary(what, wanted, domain.root_fingerprint, verdict)
    files = tdx_files(domain, wanted.report_data)
    files["policy.toml"] = tdx_policy(good, domain.root_fingerprint)
    write_files(wanted.out, files, summary)


def _said_of(status: Status) -> str:
    """What a verifier says of a machine with this status and no other fault."""
    if status is Status.UP_TO_DATE:
        return f"{_GOOD}, with status {status.value}"
    only = (
        "" if status in {Status.REVOKED, Status.NOT_SUPPORTED} else " unless the policy accepts that status"
    )
    return f"status {status.value}: refused{only}"


def _verdict(knob: Knob[Setting] | None, otherwise: str) -> str:
    if knob is None:
        return otherwise
    return f"{otherwise}; {knob.meaning}" if knob.accepted else knob.verdict


def _summary(what: str, wanted: Wanted, root: bytes, verdict: str) -> Summary:
    spoiled = f", spoiled by {wanted.spoil}" if wanted.spoil else ""
    return Summary(what + spoiled, wanted.at, root.hex(), verdict)


def _vendor(folder: Path, seed: bytes | None) -> SimulatedVendor:
    if not folder.exists():
        sys.stderr.write(f"making simulated hardware in {folder}: some seconds of key generation\n")
    vendor = SimulatedVendor.open(folder)
    return vendor if seed is None else vendor.seeded(seed)


def _intel(folder: Path, seed: bytes | None) -> SimulatedIntel:
    """With a seed, the folder is not needed: every key is of an elliptic curve, and follows from it."""
    return _vendor(folder, None).intel if seed is None else SimulatedIntel(seed)


if __name__ == "__main__":
    try:
        main()
    except (OSError, VendorError) as error:
        sys.exit(f"nothing was made: {error}")
