# SPDX-License-Identifier: Apache-2.0
"""GPU evidence in files."""

from attestation.nvidia.checks import verify_gpu_report
from attestation.nvidia.measurements import REQUEST_HEAD
from attestation.nvidia.payload import PayloadError, decode_payload
from attestation.policy import Policy
from attestation.snp.case import NotCompared
from attestation.verdict import Verdict
from sottovoce.files import OfflineError


def judge_report(
    content: bytes, chain: tuple[bytes, ...], policy: Policy, now: int, nonce: bytes | None
) -> Verdict:
    """Judge a report, as it is or in hexadecimal digits as NVIDIA's tools write it."""
    report = content if content.startswith(REQUEST_HEAD) else _from_digits(content)
    expected = NotCompared.NOT_COMPARED if nonce is None else nonce
    return verify_gpu_report(report, chain, policy.simulated_roots.fingerprints, now, expected)


def judge_payload(content: bytes, policy: Policy, now: int, nonce: bytes | None) -> Verdict:
    """Judge the one GPU in a request to NVIDIA's service. Its own nonce is not yours, and not compared."""
    try:
        payload = decode_payload(content)
    except PayloadError as error:
        raise OfflineError(f"expected a request to NVIDIA's remote service: {error}") from None
    if len(payload.gpus) != 1:
        raise OfflineError(
            f"expected one GPU, found {len(payload.gpus)}; give each report with its chain by itself"
        )
    (gpu,) = payload.gpus
    return judge_report(gpu.report, gpu.chain, policy, now, nonce)


def _from_digits(content: bytes) -> bytes:
    try:
        return bytes.fromhex(content.decode("ascii"))
    except ValueError:
        raise OfflineError("expected a GPU report in hexadecimal digits alone") from None
