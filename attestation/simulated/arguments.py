# SPDX-License-Identifier: Apache-2.0
"""The command line of `python -m attestation.simulated`, as values."""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from attestation.simulated.collateral import Status
from attestation.simulated.knobs import Knob, Setting
from attestation.simulated.snp_knobs import SNP_KNOBS
from attestation.simulated.td_quote import BodyType
from attestation.simulated.tdx_knobs import TDX_KNOBS
from attestation.snp.product import Product

DESCRIPTION: Final = """Simulated SEV-SNP and TDX hardware for machines without it. It goes through the same
verifier as real hardware, and protects nothing: whoever can read its folder, or knows its seed, can forge
its evidence."""
EPILOG: Final = """examples:
  python -m attestation.simulated policy > policy.toml
  python -m attestation.simulated policy --product turin --vlek > policy.toml
  python -m attestation.simulated policy --tee tdx --seed demo > policy.toml
  python -m attestation.simulated snp --report-version 5 --product turin --out good
  python -m attestation.simulated tdx --quote-version 5 --seed demo --at 2026-11-01T12:00:00Z --out good
  python -m attestation.simulated tdx --status OutOfDate --spoil mrtd --out bad"""
REPORT_DATA_SIZE: Final = 64
MEASUREMENT_SIZE: Final = 48


@dataclass(frozen=True, slots=True)
class PolicyCommand:
    """Print a policy. `tdx` asks for one for trust domains. Without a measurement, it is this code's own."""

    folder: Path
    seed: bytes | None
    product: Product
    tdx: bool
    vlek: bool
    measurement: bytes | None


@dataclass(frozen=True, slots=True)
class RootCommand:
    """Print a root's fingerprint. `tdx` asks for the one in Intel's place."""

    folder: Path
    seed: bytes | None
    product: Product
    tdx: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What both kinds of evidence need to know. Without a seed, the folder's own machines are used."""

    folder: Path
    seed: bytes | None
    out: Path
    at: int
    spoil: str | None
    report_data: bytes
    measurement: bytes


@dataclass(frozen=True, slots=True)
class SnpCommand:
    """Write a report with its certificates."""

    wanted: Wanted
    product: Product
    version: int
    vlek: bool


@dataclass(frozen=True, slots=True)
class TdxCommand:
    """Write a quote with its collateral."""

    wanted: Wanted
    version: int
    body_type: BodyType
    status: Status


Command: TypeAlias = PolicyCommand | RootCommand | SnpCommand | TdxCommand


class _Options(argparse.Namespace):
    """What argparse fills in; the options of other commands than the one given are missing."""

    command: str
    folder: Path
    seed: bytes | None
    tee: str
    product: Product
    out: Path
    at: int
    spoil: str | None
    report_data: bytes
    measurement: bytes
    code: bytes | None
    version: int
    body_type: BodyType
    status: Status
    vlek: bool


def parse(command_line: list[str] | None, folder: Path) -> Command:
    """Read the command line; `folder` is the vendor's unless it names another."""
    options = parser(folder).parse_args(command_line, namespace=_Options())
    match options.command:
        case "policy":
            return PolicyCommand(
                options.folder,
                options.seed,
                options.product,
                options.tee == "tdx",
                options.vlek,
                options.code,
            )
        case "root":
            return RootCommand(options.folder, options.seed, options.product, options.tee == "tdx")
        case "snp":
            return SnpCommand(_wanted(options), options.product, options.version, options.vlek)
        case _:
            return TdxCommand(_wanted(options), options.version, options.body_type, options.status)


def _wanted(options: _Options) -> Wanted:
    return Wanted(
        folder=options.folder,
        seed=options.seed,
        out=options.out,
        at=options.at,
        spoil=options.spoil,
        report_data=options.report_data,
        measurement=options.measurement,
    )


def parser(folder: Path = Path()) -> argparse.ArgumentParser:
    """The options; `folder` is the vendor's unless another is named."""
    top = argparse.ArgumentParser(
        prog="python -m attestation.simulated",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    place, seed, evidence = _place(folder), _seed(), _evidence()
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_policy(
        commands.add_parser(
            "policy",
            parents=[place, seed],
            help="print a policy that accepts one root, machine and measurement of this vendor, and no more",
            epilog=_examples("policy > policy.toml", "policy --tee tdx --seed demo > policy.toml"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    root = commands.add_parser(
        "root",
        parents=[place, seed],
        help="print the SHA-256 fingerprint of a root key of this vendor",
        epilog=_examples("root --product turin", "root --tee tdx --seed demo"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_tee(root)
    _add_product(root)
    _add_snp(
        commands.add_parser(
            "snp",
            parents=[place, seed, evidence],
            help="write an SEV-SNP report with its certificates",
            epilog=_examples("snp --out good", "snp --spoil debug --out bad") + _knob_list(SNP_KNOBS),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _add_tdx(
        commands.add_parser(
            "tdx",
            parents=[place, seed, evidence],
            help="write a TDX quote with its collateral and event log",
            epilog=_examples("tdx --seed demo --out good", "tdx --status OutOfDate --spoil mrtd --out bad")
            + _knob_list(TDX_KNOBS),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    return top


def _examples(*rest: str) -> str:
    return "examples:\n" + "".join(f"  python -m attestation.simulated {each}\n" for each in rest) + "\n"


def _place(folder: Path) -> argparse.ArgumentParser:
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--folder",
        type=Path,
        default=folder,
        help="where the simulated vendor keeps its keys; made at first use (default: %(default)s)",
    )
    return place


def _seed() -> argparse.ArgumentParser:
    seed = argparse.ArgumentParser(add_help=False)
    seed.add_argument(
        "--seed",
        type=str.encode,
        default=None,
        metavar="TEXT",
        help="the same text gives the same machines; for TDX the same roots too, and no folder is needed",
    )
    return seed


def _evidence() -> argparse.ArgumentParser:
    evidence = argparse.ArgumentParser(add_help=False)
    evidence.add_argument("--out", type=Path, required=True, help="the folder to write to")
    evidence.add_argument(
        "--at",
        type=_moment,
        default=int(time.time()),
        metavar="TIME",
        help="unix seconds, or a time such as 2026-11-01T12:00:00Z (default: now)",
    )
    evidence.add_argument(
        "--report-data",
        type=_octets(REPORT_DATA_SIZE),
        default=bytes(REPORT_DATA_SIZE),
        metavar="HEX",
        help="128 hexadecimal digits that the evidence commits to (default: zeros)",
    )
    evidence.add_argument(
        "--measurement",
        type=_octets(MEASUREMENT_SIZE),
        default=bytes(range(MEASUREMENT_SIZE)),
        metavar="HEX",
        help="96 hexadecimal digits: launch digest or MRTD (default: 000102 and so on)",
    )
    return evidence


def _add_policy(parser: argparse.ArgumentParser) -> None:
    _add_tee(parser)
    _add_product(parser)
    _add_vlek(parser)
    parser.add_argument(
        "--measurement",
        dest="code",
        type=_octets(MEASUREMENT_SIZE),
        default=None,
        metavar="HEX",
        help="96 hexadecimal digits: launch digest or MRTD (default: that of the code beside this program)",
    )


def _add_tee(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tee", choices=["snp", "tdx"], default="snp", help="which hardware (default: %(default)s)"
    )


def _add_vlek(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vlek", action="store_true", help="signed with a cloud provider's key instead of the chip's own"
    )


def _add_snp(parser: argparse.ArgumentParser) -> None:
    _add_product(parser)
    parser.add_argument(
        "--report-version",
        dest="version",
        type=int,
        choices=[2, 3, 4, 5],
        default=3,
        help="version of the report (default: %(default)s)",
    )
    _add_vlek(parser)
    _add_spoil(parser, SNP_KNOBS)


def _add_tdx(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quote-version",
        dest="version",
        type=int,
        choices=[4, 5],
        default=4,
        help="version of the quote (default: %(default)s)",
    )
    parser.add_argument(
        "--body-type",
        type=_body_type,
        default=BodyType.TD_1_5,
        metavar="{2,3,4}",
        help="form of the body in version 5: TD 1.0, 1.5 or 1.5 extended (default: 3)",
    )
    parser.add_argument(
        "--status",
        type=Status,
        default=Status.UP_TO_DATE,
        metavar="STATUS",
        help=f"what Intel's algorithm concludes: {', '.join(status.value for status in Status)}",
    )
    _add_spoil(parser, TDX_KNOBS)


def _add_product(parser: argparse.ArgumentParser) -> None:
    names = ",".join(product.value for product in Product)
    parser.add_argument(
        "--product",
        type=Product,
        default=Product.GENOA,
        metavar=f"{{{names}}}",
        help="generation of the processor (default: genoa)",
    )


def _add_spoil(parser: argparse.ArgumentParser, knobs: Mapping[str, Knob[Setting]]) -> None:
    parser.add_argument(
        "--spoil",
        choices=list(knobs),
        default=None,
        metavar="KNOB",
        help="make one thing wrong; the knobs are below",
    )


def _knob_list(knobs: Mapping[str, Knob[Setting]]) -> str:
    width = max(len(name) for name in knobs)
    rows = (f"  {name:{width}}  {knob.verdict}" for name, knob in knobs.items())
    return "\n".join(("knobs, and what a correct verifier says:", *rows))


def _octets(size: int) -> Callable[[str], bytes]:
    def octets(text: str) -> bytes:
        content = bytes.fromhex(text)
        if len(content) != size:
            raise argparse.ArgumentTypeError(f"expected {2 * size} hexadecimal digits, found {len(text)}")
        return content

    return octets


def _body_type(text: str) -> BodyType:
    return BodyType(int(text))


def _moment(text: str) -> int:
    """Unix seconds or ISO 8601, in UTC unless it says otherwise."""
    if text.isdecimal():
        return int(text)
    parsed = datetime.fromisoformat(text)
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
