# SPDX-License-Identifier: Apache-2.0
"""Genuine reports and chains of GPUs are judged as the index says, and no bit of them can be changed.

The vectors are not part of the project: without the folder `../shared/vectors`, these tests are skipped.
"""

import itertools
import json
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from attestation.nvidia import p384
from attestation.nvidia.certificates import NVIDIA_ROOT, check_issued
from attestation.nvidia.checks import verify_gpu_report
from attestation.nvidia.measurements import parse_report
from attestation.nvidia.payload import decode_payload
from attestation.snp.case import NotCompared
from attestation.tdx.pem import decode_pem
from attestation.verdict import Outcome, VendorRoot, Verdict
from attestation.x509 import Certificate, CertificateError
from wire.strict_json import Json

VECTORS = Path(__file__).parents[5] / "shared" / "vectors"
NOW = 1_780_000_000

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")

# Reports with the chain of the GPU that signed them, and the nonce that each answers.
PAIRS = (
    ("hopperAttestationReport", "hopper_cert_chain_case1", "931d8dd0"),
    ("hopper_coco_report1", "hopper_coco_certs1", "87d8e24a"),
)


def rows(kind: str) -> list[tuple[str, dict[str, Json]]]:
    if not VECTORS.is_dir():
        return []
    index = json.loads((VECTORS / "INDEX.json").read_bytes())
    return [(row["file"], row["expect"]) for row in index["files"] if row["kind"] == kind]


@cache
def read(name: str) -> bytes:
    return (VECTORS / "nvidia" / f"{name}.txt").read_bytes()


def report(name: str) -> bytes:
    return bytes.fromhex(read(name).decode())


def judge(
    evidence: bytes, chain: tuple[bytes, ...], nonce: bytes | NotCompared = NotCompared.NOT_COMPARED
) -> Verdict:
    return verify_gpu_report(evidence, chain, frozenset(), NOW, nonce)


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome is Outcome.FAILED}


def is_issued(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        check_issued(certificate, issuer)
    except CertificateError:
        return False
    return True


def test_every_row_of_the_index_is_covered() -> None:
    kinds = ("nvidia-device-root", "nvidia-spdm-report", "nvidia-chain", "nvidia-nras-payload")
    assert [len(rows(kind)) for kind in kinds] == [1, 2, 5, 1]
    assert {Path(file).stem for file, _ in rows("nvidia-spdm-report")} == {name for name, _, _ in PAIRS}


def test_root_is_the_pinned_one() -> None:
    ((file, expect),) = rows("nvidia-device-root")
    encoded = (VECTORS / file).read_bytes()
    root = p384.parse_certificate(encoded)
    assert root.fingerprint == NVIDIA_ROOT == bytes.fromhex(str(expect["spki_sha256"]))
    assert sha256(encoded).hexdigest() == expect["cert_sha256"]
    assert root.public_key_der.hex().endswith(str(expect["public_key_hex"]))
    check_issued(root, root)


@pytest.mark.parametrize(("file", "expect"), rows("nvidia-chain"), ids=lambda value: str(value)[:40])
def test_chain_is_what_the_index_says(file: str, expect: dict[str, Json]) -> None:
    chain = [p384.parse_certificate(each) for each in decode_pem((VECTORS / file).read_bytes())]
    assert [each.subject.common_name for each in chain] == expect["subjects"]
    links = [is_issued(each, issuer) for each, issuer in itertools.pairwise(chain)]
    assert links == expect["links"]
    assert (chain[-1].fingerprint == NVIDIA_ROOT) is expect["ends_in_device_root"]


@pytest.mark.parametrize(("name", "chain", "nonce"), PAIRS)
def test_report_is_signed_by_its_gpu_under_nvidias_root(name: str, chain: str, nonce: str) -> None:
    asked = parse_report(report(name)).nonce
    assert asked.hex().startswith(nonce)
    verdict = judge(report(name), decode_pem(read(chain)), asked)
    assert failed(verdict) == set()
    assert {check.name for check in verdict.checks if check.waived} == {"revocation", "gpu measurements"}
    assert verdict.vendor_root is VendorRoot.NVIDIA
    assert failed(judge(report(name), decode_pem(read(chain)), bytes(32))) == {"gpu nonce"}


@pytest.mark.parametrize(
    ("chain", "names"),
    [
        ("hopper_cert_chain_case2", {"certificate chain"}),
        ("hopper_cert_chain_case3", {"certificate chain"}),
        ("hopper_cert_chain_case4", {"certificate chain"}),
        ("hopper_coco_certs1", {"gpu report signature", "gpu firmware"}),
    ],
)
def test_chain_that_is_incomplete_or_of_another_gpu_is_refused(chain: str, names: set[str]) -> None:
    """Only the root, a step left out, no key of firmware, and another GPU."""
    assert failed(judge(report("hopperAttestationReport"), decode_pem(read(chain)))) == names


def test_request_to_the_remote_service_is_judged_here() -> None:
    ((file, _),) = rows("nvidia-nras-payload")
    payload = decode_payload((VECTORS / file).read_bytes())
    assert payload.architecture == "HOPPER"
    (gpu,) = payload.gpus
    assert failed(judge(gpu.report, gpu.chain, payload.nonce)) == set()


@pytest.mark.parametrize(("name", "chain"), [pair[:2] for pair in PAIRS])
def test_every_flipped_byte_of_a_genuine_report_is_refused(name: str, chain: str) -> None:
    good, certificates = report(name), decode_pem(read(chain))
    end = len(good) - parse_report(good).padding
    for place in range(0, end, 7):
        spoiled = bytearray(good)
        spoiled[place] ^= 1 << place % 8
        assert judge(bytes(spoiled), certificates).refused, place


@pytest.mark.parametrize("index", range(5))
def test_every_flipped_bit_of_a_genuine_certificate_is_refused(index: int) -> None:
    good, certificates = report("hopperAttestationReport"), decode_pem(read("hopper_cert_chain_case1"))
    for place in range(0, 8 * len(certificates[index]), 29):
        spoiled = bytearray(certificates[index])
        spoiled[place // 8] ^= 1 << place % 8
        changed = (*certificates[:index], bytes(spoiled), *certificates[index + 1 :])
        assert judge(good, changed).refused, place
