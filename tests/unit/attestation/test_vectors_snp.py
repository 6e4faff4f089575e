# SPDX-License-Identifier: Apache-2.0
"""Every SEV-SNP row of the genuine vectors: the verdict, the fields and the patch levels of its index.

The vectors are not part of the project: without the folder `../shared/vectors`, these tests are skipped.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

import pytest

from attestation.policy import (
    AMD_ROOTS,
    AnyMachine,
    Policy,
    Product,
    SimulatedRoots,
    SnpPolicy,
    default_policy,
)
from attestation.settings import ANY
from attestation.snp.case import NoCrl, NotCompared, SnpCaches, SnpEvidence, open_snp_case
from attestation.snp.certificates import PATCH_LEVELS, Leaf, check_chain, parse_chain, parse_leaf
from attestation.snp.product import TCB_OFFSETS, decode_tcb
from attestation.snp.report import SIGNED_SIZE, GuestPolicy, PlatformInfo, Report, parse_report
from attestation.tdx_case import NoCollateral
from attestation.verdict import Outcome, VendorRoot, Verdict
from attestation.verify import verify_snp_report, verify_tdx_quote
from attestation.x509 import (
    CertificateError,
    authority_key,
    check_signed_by,
    parse_certificate,
    parse_revocation_list,
)

VECTORS = Path(__file__).parents[4] / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

KINDS = {
    "amd-ca-cert": 9,
    "amd-crl": 2,
    "amd-sim-cert": 6,
    "amd-vcek": 19,
    "amd-vcek-negative": 2,
    "amd-vlek": 1,
    "snp-report": 22,
    "snp-report-forged": 22,
}
CRLS = {"Milan": "snp/crl/crl-milan-2025-05-06.der", "Genoa": "snp/crl/crl-genoa-2024-10-23.der"}
WHILE_BOTH_LISTS_ARE_CURRENT = 1_757_000_000  # 2025-09-04

OLD_FIRMWARE = frozenset(f"tcb floor ({name})" for name in ("reported", "committed", "launch", "current"))
# Why a genuine report is refused by a policy that names its code and accepts every place.
REFUSED = {
    "v2-milan-vcek-azure-coco-hcl-v0": OLD_FIRMWARE | {"alias check"},
    "v2-milan-vcek-coco": OLD_FIRMWARE | {"alias check"},
    "v2-milan-vcek-gosevguest-debug": OLD_FIRMWARE | {"alias check", "debug"},
    "v3-milan-vcek-dstack-live": {"tcb floor (reported)"},
}
# What a forgery that a simulated root signs is refused for; "good" ones are accepted (attestation.md 10.2).
FORGED = {
    "good": set[str](),
    "forged-measurement": set[str](),
    "debug-policy": {"debug"},
    "migrate-ma": {"migration agent"},
    "vmpl3": {"vmpl"},
    "masked-chip-id": {"chip identity"},
    "tcb-lower-than-cert": {"certificate TCB"},
    "mask-chip-key": {"chip key mask"},
    "reserved-mbz": {"report structure"},
    "version-6": {"report structure"},
    "signing-key-vlek-claimed": {"signing key"},
}
FLIPPED = ("v2-milan-vcek-coco", "v3-milan-vlek-coco", "v5-turin-vcek-msft")


@dataclass(frozen=True)
class Row:
    """A row of the index."""

    name: str
    file: str
    kind: str
    product: str
    digest: str
    size: int
    expect: Mapping[str, Json]

    @property
    def content(self) -> bytes:
        return read(self.file)

    @property
    def chain(self) -> tuple[bytes, ...]:
        files = self.expect["chain"]
        assert isinstance(files, list)
        return tuple(read(str(file)) for file in files)

    @property
    def as_of(self) -> int:
        return unix_time(self.expect["as_of"])


def read(file: str) -> bytes:
    return (VECTORS / file).read_bytes()


def unix_time(text: Json) -> int:
    return int(datetime.fromisoformat(str(text)).timestamp())


def rows(*kinds: str) -> list[Row]:
    if not VECTORS.is_dir():
        return []
    index = json.loads(read("INDEX.json"))
    return [
        Row(
            Path(row["file"]).name.partition(".")[0] if "crl" not in row["file"] else Path(row["file"]).name,
            row["file"],
            row["kind"],
            row["product"],
            row["sha256"],
            row["size"],
            row["expect"],
        )
        for row in index["files"]
        if row["kind"] in (kinds or KINDS)
    ]


def each(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows(*kinds), ids=lambda row: row.file)


def report_row(name: str) -> Row:
    (row,) = (row for row in rows("snp-report") if row.name == name)
    return row


def policy(report: Report | None = None) -> Policy:
    """Accepts the code of this report on any genuine machine, under any of the clouds' conditions."""
    return replace(
        default_policy(),
        measurements=frozenset({report.measurement}) if report else frozenset(),
        machines=AnyMachine.ANY_MACHINE,
        products=frozenset(Product),
        snp=SnpPolicy(vmpls=frozenset({0, 1}), providers=ANY, accept_masked_chip_id=True),
    )


def names(verdict: Verdict, *outcomes: Outcome) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome in outcomes}


def failed(verdict: Verdict) -> set[str]:
    return names(verdict, Outcome.FAILED, Outcome.NOT_EVALUATED)


def test_the_index_has_the_rows_that_are_tested() -> None:
    found = [row.kind for row in rows()]
    assert {kind: found.count(kind) for kind in KINDS} == KINDS


@each()
def test_file_is_the_one_of_the_index(row: Row) -> None:
    assert (sha256(row.content).hexdigest(), len(row.content)) == (row.digest, row.size)


POLICY_BITS = {
    "smt": GuestPolicy.SMT,
    "reserved1": GuestPolicy.RESERVED_ONE,
    "migrate_ma": GuestPolicy.MIGRATION_AGENT,
    "debug": GuestPolicy.DEBUG,
    "single_socket": GuestPolicy.SINGLE_SOCKET,
    "cxl_allow": GuestPolicy.CXL,
    "mem_aes_256_xts": GuestPolicy.AES_256_XTS,
    "rapl_dis": GuestPolicy.RAPL_DISABLED,
    "ciphertext_hiding": GuestPolicy.CIPHERTEXT_HIDING,
    "page_swap_disable": GuestPolicy.PAGE_SWAP_DISABLED,
}
PLATFORM = {
    "smt_en": PlatformInfo.SMT,
    "tsme_en": PlatformInfo.TSME,
    "ecc_en": PlatformInfo.ECC,
    "rapl_dis": PlatformInfo.RAPL_DISABLED,
    "ciphertext_hiding_dram_en": PlatformInfo.CIPHERTEXT_HIDING,
    "alias_check_complete": PlatformInfo.ALIAS_CHECK_COMPLETE,
    "tio_en": PlatformInfo.TIO,
}
SAME_NAME = ("version", "vmpl", "guest_svn")
SAME_HEX = (
    "measurement",
    "report_data",
    "host_data",
    "family_id",
    "image_id",
    "id_key_digest",
    "author_key_digest",
    "report_id",
    "report_id_ma",
    "chip_id",
)
TCBS = ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb")


def _hexadecimal(name: str) -> Callable[[Report], Json]:
    return lambda report: bytes(getattr(report, name)).hex()


FIELDS: dict[str, Callable[[Report], Json]] = {
    **{name: attrgetter(name) for name in SAME_NAME},
    **{name: _hexadecimal(name) for name in SAME_HEX},
    "debug": lambda report: GuestPolicy.DEBUG in report.policy,
    "migrate_ma": lambda report: GuestPolicy.MIGRATION_AGENT in report.policy,
    "policy": lambda report: f"{report.policy | report.abi[0] << 8 | report.abi[1]:#018x}",
    "platform_info": lambda report: f"{report.platform_info:#x}",
    "signing_key": lambda report: report.signing_key.name,
    "author_key_en": lambda report: report.author_key_used,
    "mask_chip_key": lambda report: report.chip_key_masked,
    "chip_id_masked": lambda report: not any(report.chip_id),
    "current_version": lambda report: _version(report.current_version),
    "committed_version": lambda report: _version(report.committed_version),
    "cpuid_fam": lambda report: report.cpu.family if report.cpu else None,
    "cpuid_mod": lambda report: report.cpu.model if report.cpu else None,
    "cpuid_step": lambda report: report.cpu.stepping if report.cpu else None,
    "launch_mit_vector": lambda report: report.launch_mitigations.to_bytes(8, "little").hex(),
    "current_mit_vector": lambda report: report.current_mitigations.to_bytes(8, "little").hex(),
    "signature_algo": lambda _: 1,
    "policy_bits": lambda report: {
        "abi_minor": report.abi[1],
        "abi_major": report.abi[0],
        **{name: bit in report.policy for name, bit in POLICY_BITS.items()},
    },
    "platform_bits": lambda report: {name: bit in report.platform_info for name, bit in PLATFORM.items()},
}
# What an expectation says that is no field: judged by the tests below.
JUDGED = {
    "as_of",
    "cert_hwid_matches_chip_id",
    "cert_tcb_matches_reported_tcb",
    "chain",
    "chain_valid",
    "note",
    "product",
    "signature_valid",
    "valid_from",
    "valid_to",
}


def _version(encoded: bytes) -> str:
    build, minor, major = encoded
    return f"{major}.{minor}.{build}"


@each("snp-report")
def test_report_has_the_fields_of_the_index(row: Row) -> None:
    report = parse_report(row.content)
    assert not row.expect.keys() - FIELDS.keys() - set(TCBS) - JUDGED
    for name, field in FIELDS.items():
        if name in row.expect:
            assert field(report) == row.expect[name], name


@each("snp-report")
def test_report_has_the_patch_levels_of_the_index(row: Row) -> None:
    report, product = parse_report(row.content), Product[row.product.upper()]
    for name in TCBS:
        levels = row.expect[name]
        assert isinstance(levels, dict)
        encoded: bytes = getattr(report, name)
        decoded = asdict(decode_tcb(encoded, product))
        assert {"raw": encoded.hex(), **{part: decoded[part] for part in TCB_OFFSETS[product]}} == levels


@each("snp-report")
def test_report_gets_the_verdict_of_the_index(row: Row) -> None:
    if row.expect["chain_valid"] is None:
        pytest.skip(str(row.expect["note"]))
    report = parse_report(row.content)
    verdict = verify_snp_report(
        row.content, row.chain, NoCrl.NO_CRL, policy(report), row.as_of, report.report_data
    )
    assert failed(verdict) == REFUSED.get(row.name, set())
    assert names(verdict, Outcome.WAIVED) == {"revocation", "revocation list age"}
    assert verdict.vendor_root is VendorRoot.AMD
    assert not verdict.verified
    assert verdict.refused == (row.name in REFUSED)
    passed = names(verdict, Outcome.PASSED, Outcome.NOTED)
    assert {"report signature", "certificate TCB", "chip identity", "certificate chain"} <= passed
    assert ("chip identity" in names(verdict, Outcome.NOTED)) == (row.expect["chip_id_masked"] is True)


@each("snp-report")
def test_report_is_verified_with_a_current_revocation_list(row: Row) -> None:
    if row.expect["chain_valid"] is None or row.product not in CRLS:
        pytest.skip("there is no chain or no list for this report")
    report, crl = parse_report(row.content), read(CRLS[row.product])
    verdict = verify_snp_report(
        row.content, row.chain, crl, policy(report), WHILE_BOTH_LISTS_ARE_CURRENT, report.report_data
    )
    late = (
        {"certificate validity"}
        if unix_time(row.expect["valid_from"]) > WHILE_BOTH_LISTS_ARE_CURRENT
        else set[str]()
    )
    assert failed(verdict) == REFUSED.get(row.name, set()) | late
    assert verdict.verified == (not failed(verdict))


@each("snp-report")
def test_report_is_refused_outside_the_dates_of_its_chain(row: Row) -> None:
    if row.expect["chain_valid"] is None:
        pytest.skip(str(row.expect["note"]))
    for now in (unix_time(row.expect["valid_from"]) - 1, unix_time(row.expect["valid_to"]) + 1):
        verdict = verify_snp_report(row.content, row.chain, NoCrl.NO_CRL, policy(), now, bytes(64))
        assert "certificate validity" in failed(verdict)


@each("snp-report")
def test_report_is_refused_by_the_default_policy(row: Row) -> None:
    """No code, no machine and no provider is named; Milan is not, because its reports can be forged."""
    if row.expect["chain_valid"] is None:
        pytest.skip(str(row.expect["note"]))
    data = parse_report(row.content).report_data
    verdict = verify_snp_report(row.content, row.chain, NoCrl.NO_CRL, default_policy(), row.as_of, data)
    assert {"measurement", "machine"} <= failed(verdict)
    assert ("product" in failed(verdict)) == (row.product == "Milan")
    assert ("provider" in failed(verdict)) == (row.expect["signing_key"] == "VLEK")
    assert ("chip identity" in failed(verdict)) == (row.expect["chip_id_masked"] is True)
    (product,) = (check for check in verdict.checks if check.name == "product")
    assert ("arXiv 2605.12990" in product.found) == (row.product == "Milan")


def certificate_name(file: str) -> str:
    stem = Path(file).stem
    role, _, product = stem.partition("-")
    certified = product.capitalize()
    return {"ark": f"ARK-{certified}", "ask": f"SEV-{certified}", "asvk": f"SEV-VLEK-{certified}"}[role]


@each("amd-ca-cert")
def test_authority_is_the_one_of_the_index(row: Row) -> None:
    certificate = parse_certificate(row.content)
    root = parse_certificate(read(f"snp/roots/ark-{row.product.lower()}.der"))
    check_signed_by(certificate.signed, root)
    assert root.fingerprint == AMD_ROOTS[Product[row.product.upper()]]
    assert certificate.subject.common_name == certificate_name(row.file)
    found = {
        "signed_by": root.subject.common_name,
        "signature_valid": True,
        "spki_sha256": certificate.fingerprint.hex(),
        "cert_sha256": sha256(row.content).hexdigest(),
        "serial": hex(certificate.serial),
        "key_bits": authority_key(certificate.public_key_der).key_size,
    }
    assert (certificate.not_before, certificate.not_after) == tuple(
        unix_time(row.expect[name]) for name in ("not_before", "not_after")
    )
    dates = {name: row.expect[name] for name in ("not_before", "not_after")}
    assert {**found, **dates} == row.expect


LEVEL_NAMES = {
    ".3.1": "bootloader",
    ".3.2": "tee",
    ".3.3": "snp",
    ".3.4": "spl4",
    ".3.5": "spl5",
    ".3.6": "spl6",
    ".3.7": "spl7",
    ".3.8": "microcode",
    ".3.9": "fmc",
}


def extensions(leaf: Leaf) -> dict[str, Json]:
    """The extensions by the names of the index."""
    identifiers = PATCH_LEVELS[leaf.product]
    levels = {
        LEVEL_NAMES[identifier.removeprefix("1.3.6.1.4.1.3704.1")]: level
        for identifier, level in zip(identifiers, leaf.tcb, strict=True)
    }
    turin = leaf.product is Product.TURIN
    identity = (
        {"csp_id": leaf.provider} if leaf.provider else {"hwid": leaf.chip_id[: 8 if turin else 64].hex()}
    )
    return {"struct_version": int(turin), **levels, **identity}


@each("amd-vcek", "amd-vlek")
def test_leaf_is_the_one_of_the_index(row: Row) -> None:
    leaf = parse_leaf(parse_certificate(row.content))
    prefix = "asvk" if row.kind == "amd-vlek" else "ask"
    issuer = parse_certificate(read(f"snp/roots/{prefix}-{row.product.lower()}.der"))
    check_signed_by(leaf.certificate.signed, issuer)
    stated = row.expect["extensions"]
    assert isinstance(stated, dict)
    product = str(stated["product_name"])
    assert product.partition("-")[0] == row.product == leaf.product.value.capitalize()
    assert {**extensions(leaf), "product_name": product} == stated
    assert leaf.certificate.issuer.common_name == row.expect["issuer"]
    assert (leaf.certificate.not_before, leaf.certificate.not_after) == tuple(
        unix_time(row.expect[name]) for name in ("not_before", "not_after")
    )
    assert hex(leaf.certificate.serial) == row.expect["serial"] == "0x0"


@each("amd-vcek-negative")
def test_certificate_of_another_chip_is_refused(row: Row) -> None:
    coco = report_row("v2-milan-vcek-coco")
    leaf = parse_leaf(parse_certificate(row.content))
    assert {**extensions(leaf), "product_name": "Milan-B0"} == row.expect["extensions"]
    chain = (row.content, *coco.chain[1:])
    verdict = verify_snp_report(coco.content, chain, NoCrl.NO_CRL, policy(), coco.as_of, bytes(64))
    wrong = {"report signature", "certificate chain", "certificate TCB", "chip identity"}
    assert wrong <= names(verdict, Outcome.FAILED)
    assert verdict.vendor_root is VendorRoot.UNKNOWN


@each("amd-crl")
def test_revocation_list_is_the_one_of_the_index(row: Row) -> None:
    revocations = parse_revocation_list(row.content)
    check_signed_by(revocations.signed, parse_certificate(read(f"snp/roots/ark-{row.product.lower()}.der")))
    assert revocations.this_update == unix_time(row.expect["this_update"])
    assert revocations.next_update == unix_time(row.expect["next_update"])
    stated = row.expect["revoked"]
    assert isinstance(stated, list)
    assert {hex(serial) for serial in revocations.serials} == {
        str(entry["serial"]) for entry in stated if isinstance(entry, dict)
    }
    assert not revocations.others
    for other in {"Milan", "Genoa", "Turin"} - {row.product}:
        with pytest.raises(CertificateError, match="signature is not by"):
            check_signed_by(revocations.signed, parse_certificate(read(f"snp/roots/ark-{other.lower()}.der")))


def simulated_chain(product: str) -> tuple[bytes, ...]:
    return tuple(read(f"snp/forged/{product.lower()}-sim-{name}.der") for name in ("vcek", "ask", "ark"))


@each("amd-sim-cert")
def test_simulated_certificate_is_signed_by_its_own_root_and_not_by_amd(row: Row) -> None:
    chain = parse_chain(simulated_chain(row.product))
    check_chain(chain)
    assert row.content in simulated_chain(row.product)
    assert chain.root.fingerprint not in AMD_ROOTS.values()


@each("snp-report-forged")
def test_forged_report_fails_the_check_that_is_about_it(row: Row) -> None:
    product, _, case = row.name.partition("-")
    chain = simulated_chain(row.product)
    root = parse_certificate(chain[2]).fingerprint
    now = parse_certificate(chain[0]).not_before
    named = replace(policy(), simulated_roots=SimulatedRoots(frozenset({root})), snp=SnpPolicy())
    if FORGED[case] != {"report structure"}:
        report = parse_report(row.content)
        named = replace(named, measurements=frozenset({report.measurement}))
    verdict = verify_snp_report(row.content, chain, NoCrl.NO_CRL, named, now, row.content[0x50:0x90])
    floors = OLD_FIRMWARE if (product, case) == ("turin", "tcb-lower-than-cert") else frozenset[str]()
    assert names(verdict, Outcome.FAILED) - floors == FORGED[case]
    assert verdict.simulated
    assert verdict.refused == (row.expect["must_under_simulated_root"] != "accept")
    under_amd = verify_snp_report(
        row.content,
        chain,
        NoCrl.NO_CRL,
        replace(named, simulated_roots=SimulatedRoots(frozenset())),
        now,
        bytes(64),
    )
    assert "trust anchor" in names(under_amd, Outcome.FAILED)
    assert under_amd.refused
    assert row.expect["must_under_amd_root"] == "reject"


def flipped(data: bytes, position: int) -> bytes:
    """One bit of this byte changed, another one at each position."""
    return data[:position] + bytes((data[position] ^ 1 << position % 8,)) + data[position + 1 :]


@pytest.mark.parametrize("name", FLIPPED)
def test_every_flipped_bit_of_a_report_is_refused(name: str) -> None:
    """Signed part, signature and unsigned tail: no byte of a report is free."""
    row = report_row(name)
    named, data = policy(parse_report(row.content)), row.content[0x50:0x90]
    for position in range(len(row.content)):
        verdict = verify_snp_report(
            flipped(row.content, position), row.chain, NoCrl.NO_CRL, named, row.as_of, data
        )
        found = names(verdict, Outcome.FAILED)
        assert found & {"report structure", "report signature"}, position
        if position >= SIGNED_SIZE:
            assert len(found) == 1 or name in REFUSED, position


@pytest.mark.parametrize("name", FLIPPED)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_flipped_bit_of_a_certificate_is_refused(name: str, place: int) -> None:
    row = report_row(name)
    good = SnpEvidence(row.content, row.chain, NoCrl.NO_CRL, NotCompared.NOT_COMPARED)
    open_snp_case(good, policy(), row.as_of, SnpCaches()).links.need()
    for position in range(len(row.chain[place])):
        chain = list(row.chain)
        chain[place] = flipped(chain[place], position)
        case = open_snp_case(replace(good, chain=tuple(chain)), policy(), row.as_of, SnpCaches())
        with pytest.raises(CertificateError):
            case.links.examine()


@pytest.mark.parametrize("row", rows("amd-crl"), ids=lambda row: row.file)
def test_every_flipped_bit_of_a_revocation_list_is_refused(row: Row) -> None:
    genuine = report_row("v2-milan-vcek-coco" if row.product == "Milan" else "v3-genoa-vcek-msft")
    for position in range(len(row.content)):
        given = SnpEvidence(
            genuine.content, genuine.chain, flipped(row.content, position), NotCompared.NOT_COMPARED
        )
        revocations = open_snp_case(given, policy(), genuine.as_of, SnpCaches()).revocation_list
        assert not isinstance(revocations, NoCrl)
        with pytest.raises(CertificateError):
            revocations.examine()


@each("snp-report")
def test_report_of_amd_is_no_quote(row: Row) -> None:
    verdict = verify_tdx_quote(row.content, NoCollateral.NO_COLLATERAL, policy(), 0, bytes(64))
    assert verdict.refused
    assert verdict.vendor_root is VendorRoot.UNKNOWN
