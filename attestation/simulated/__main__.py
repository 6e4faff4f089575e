# SPDX-License-Identifier: Apache-2.0
"""`python -m attestation.simulated`: print what a client needs to accept simulated hardware."""

import argparse
import os
import sys
from pathlib import Path

from attestation.policy import AnyModel, Policy, SimulatedRoots, render_policy
from attestation.simulated.vendor import SimulatedVendor, code_measurement

DESCRIPTION = """Simulated SEV-SNP hardware for machines without it. It goes through the same verifier as real
hardware, and protects nothing: whoever can read its folder can forge its reports."""
EPILOG = """Example: python -m attestation.simulated policy > policy.toml"""


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder
    if not folder.exists():
        sys.stderr.write(f"making simulated hardware in {folder}: some seconds of key generation\n")
    vendor = SimulatedVendor.open(folder)
    text = (
        render_policy(_policy(vendor))
        if options.command == "policy"
        else f"{vendor.root_fingerprint.hex()}\n"
    )
    sys.stdout.write(text)


def default_folder() -> Path:
    """Where the simulated vendor lives unless told otherwise (XDG base directories)."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "sottovoce" / "simulated"


def _policy(vendor: SimulatedVendor) -> Policy:
    """Accept this vendor's root, its one chip, and the code beside this file."""
    return Policy(
        measurements=frozenset({code_measurement(Path(__file__).parents[2])}),
        machines=frozenset({vendor.chip_id}),
        models=AnyModel.ANY_MODEL,
        simulated_roots=SimulatedRoots(frozenset({vendor.root_fingerprint})),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m attestation.simulated", description=DESCRIPTION, epilog=EPILOG
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--folder",
        type=Path,
        default=default_folder(),
        help="where the simulated vendor keeps its keys; made at first use (default: %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "policy",
        parents=[shared],
        help="print a policy that accepts this vendor's root and chip, and the code beside this program",
    )
    commands.add_parser(
        "root", parents=[shared], help="print the SHA-256 fingerprint of this vendor's root key"
    )
    return parser


if __name__ == "__main__":
    main()
