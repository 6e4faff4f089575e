# SPDX-License-Identifier: Apache-2.0
"""`python -m attestation.collect`: what this machine offers, and whether it gives evidence."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import Final

from attestation.collect import configfs, detect, sev_guest, tdx_guest
from attestation.collect.certificate_table import CertificateTableError, Content, parse_certificate_table
from attestation.collect.detect import Machine, Survey, survey
from attestation.collect.errors import CollectError
from attestation.collect.own_report import REPORT_DATA_SIZE, Collected, Kind

DESCRIPTION = """Look for hardware that vouches for this machine, and ask it for a report over random bytes.
The report is checked to answer the request; who signed it, only a verifier can say."""
EPILOG = """\
examples:
  python -m attestation.collect
  python -m attestation.collect --only-look --json

exit codes: 0 evidence; 1 no evidence
"""

_KNOWN: Final = {content.value: content.name for content in Content}


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of asking."""

    obtained: bool
    text: str


def main(arguments: list[str] | None = None, look: Callable[[Machine], Survey] = survey) -> int:
    """Look, ask unless told not to, and print. Returns the exit status."""
    options = parser().parse_args(arguments)
    machine = Machine(
        configfs_root=options.configfs,
        sev_guest=options.sev_guest,
        tdx_guest=options.tdx_guest,
        tpm=options.tpm,
    )
    found = look(machine)
    trial = Trial(found.chosen is not None, "not asked") if options.only_look else _ask(found)
    sys.stdout.write((_as_json if options.json else _as_text)(found, trial))
    return 0 if trial.obtained else 1


def _ask(found: Survey) -> Trial:
    if found.chosen is None:
        return Trial(obtained=False, text="no path can be tried, for the reasons above")
    try:
        collected = found.collect(token_bytes(REPORT_DATA_SIZE))
    except CollectError as error:
        return Trial(obtained=False, text=str(error))
    return Trial(obtained=True, text=_describe(collected))


def _describe(collected: Collected) -> str:
    digest = sha256(collected.report).hexdigest()
    report = f"a report of {len(collected.report)} bytes that answers the request (SHA-256 {digest})"
    return f"{report}, {_certificates(collected)}" if collected.kind is Kind.SEV_SNP else report


def _certificates(collected: Collected) -> str:
    try:
        entries = parse_certificate_table(collected.certificates)
    except CertificateTableError as error:
        return f"with unreadable certificates of the host: {error}"
    names = ", ".join(_KNOWN.get(entry.guid, str(entry.guid)) for entry in entries)
    return f"with the host's {names}" if names else "and no certificates of the host"


def _as_text(found: Survey, trial: Trial) -> str:
    lines: list[str] = []
    for offer in found.offers:
        mark = "used" if offer is found.chosen else "  - "
        lines.append(f"{mark}  {offer.name}: {offer.explanation}\n")
    return "".join(lines) + f"\n{'evidence' if trial.obtained else 'no evidence'}: {trial.text}\n"


def _as_json(found: Survey, trial: Trial) -> str:
    paths = [
        {
            "path": offer.name,
            "tee": offer.kind,
            "usable": offer.collect is not None,
            "used": offer is found.chosen,
            "explanation": offer.explanation,
        }
        for offer in found.offers
    ]
    return (
        json.dumps({"paths": paths, "evidence": trial.obtained, "explanation": trial.text}, indent=2) + "\n"
    )


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -m attestation.collect",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--json", action="store_true", help="print JSON")
    options.add_argument("--only-look", action="store_true", help="do not ask for a report")
    for name, default, meaning in (
        ("--configfs", configfs.DEFAULT_ROOT, "where configfs is mounted"),
        ("--sev-guest", sev_guest.DEFAULT_PATH, "the SNP driver's device"),
        ("--tdx-guest", tdx_guest.DEFAULT_PATH, "the TDX driver's device"),
        ("--tpm", detect.DEFAULT_TPM, "a TPM"),
    ):
        options.add_argument(name, type=Path, default=default, help=f"{meaning} (default: %(default)s)")
    return options


if __name__ == "__main__":
    sys.exit(main())
