# SPDX-License-Identifier: Apache-2.0
"""The parsers, with good inputs to spoil and the errors they may raise.

Seeds are simulated evidence, and genuine evidence where it lies beside the checkout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attestation.azure.hcl import HclError, parse_hcl
from attestation.azure.runtime import RuntimeDataError, decode_runtime_data
from attestation.azure.tdreport import TdReportError, parse_tdreport
from attestation.azure.tpm import TpmError
from attestation.azure.tpm import parse_quote as parse_tpm_quote
from attestation.collect.certificate_table import CertificateTableError, parse_certificate_table
from attestation.evidence import Evidence, EvidenceError, decode_claims, decode_evidence
from attestation.nvidia import p384
from attestation.nvidia.measurements import GpuReportError
from attestation.nvidia.measurements import parse_report as parse_gpu_report
from attestation.nvidia.payload import PayloadError, decode_payload
from attestation.policy import PolicyError, parse_policy, render_policy
from attestation.results.cmw import (
    WrapperError,
    decode_record_cbor,
    decode_record_json,
    encode_record_cbor,
    encode_record_json,
    evidence_document,
)
from attestation.snp.report import ReportError, parse_report
from attestation.tdx.collateral import CollateralError, decode_collateral
from attestation.tdx.documents import DocumentError
from attestation.tdx.event_log import EventLogError, parse_event_log
from attestation.tdx.log_checks import read_event_log
from attestation.tdx.p256 import parse_certificate as parse_p256_certificate
from attestation.tdx.p256 import parse_revocation_list as parse_p256_list
from attestation.tdx.pem import PemError, decode_pem
from attestation.tdx.quote import QuoteError, parse_quote
from attestation.verify import appraise
from attestation.x509 import CertificateError, parse_certificate, parse_revocation_list
from tests.fakes import gpu, hardware
from wire import bhttp, frames, ohttp, varint

VECTORS = Path(__file__).parent.parent.parent.parent / "shared" / "vectors"
Parse = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    name: str
    parse: Parse
    errors: tuple[type[Exception], ...]
    seeds: list[bytes]


def genuine(pattern: str) -> list[bytes]:
    """Genuine files of this form; none where they are not there."""
    return [path.read_bytes() for path in sorted(VECTORS.glob(pattern))]


def targets() -> list[Target]:
    """Every parser that reads what somebody else sent."""
    return [*wire_targets(), *snp_targets(), *tdx_targets(), *document_targets()]


def wire_targets() -> list[Target]:
    """What crosses the boundary."""
    head = bhttp.RequestHead("POST", "https", "llm.example", "/v1/x", (("content-type", "text/plain"),))
    answer = bhttp.ResponseHead(200, (("content-type", "text/plain"),))
    requests = [bhttp.encode_request(head, b"content"), bhttp.encode_request_head(head) + bhttp.encode_end()]
    answers = [
        bhttp.encode_response(answer, b"content"),
        bhttp.encode_response_head(answer) + bhttp.encode_end(),
    ]
    relayed = frames.encode_request_head(frames.RequestHead("POST", "/ohttp", "message/ohttp-req"))
    answered = frames.encode_answer_head(frames.AnswerHead(200, "message/ohttp-res"))
    return [
        Target("key list", ohttp.decode_key_list, (ohttp.KeyListError,), [hardware.KEYS]),
        Target(
            "request head", ohttp.RequestHead.decode, (ohttp.RequestError,), [bytes(7), b"\1\0\x20\0\1\0\1"]
        ),
        Target(
            "varint", varint.decode, (varint.VarintError,), [b"\x40\x25", b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"]
        ),
        Target("Binary HTTP request", _whole(bhttp.RequestDecoder), (bhttp.MessageError,), requests),
        Target("Binary HTTP response", _whole(bhttp.ResponseDecoder), (bhttp.MessageError,), answers),
        Target(
            "link request head",
            lambda data: frames.RequestHeadReader().receive(data),
            (frames.FrameError,),
            [relayed],
        ),
        Target(
            "link answer head",
            lambda data: frames.AnswerHeadReader().receive(data),
            (frames.FrameError,),
            [answered],
        ),
    ]


def _whole(decoder: Callable[[], bhttp.RequestDecoder] | Callable[[], bhttp.ResponseDecoder]) -> Parse:
    def parse(data: bytes) -> object:
        made = decoder()
        return [*made.receive(data), *made.end()]

    return parse


def snp_targets() -> list[Target]:
    """AMD's formats."""
    good = hardware.evidence()
    certificates = [*good.chain, *genuine("snp/certs/*.der"), *genuine("snp/roots/*.der")]
    return [
        Target("SNP report", parse_report, (ReportError,), [good.report, *genuine("snp/reports/*.bin")]),
        Target("AMD certificate", parse_certificate, (CertificateError,), certificates),
        Target(
            "AMD revocation list",
            parse_revocation_list,
            (CertificateError,),
            [good.crl, *genuine("snp/crl/*.der")],
        ),
        Target(
            "certificate table", parse_certificate_table, (CertificateTableError,), [bytes(24), bytes(64)]
        ),
        Target("whole appraisal", _appraise(good), (), [good.report]),
    ]


def _appraise(good: Evidence) -> Parse:
    """Appraisal may raise nothing at all, whatever the report is."""

    def parse(report: bytes) -> object:
        spoiled = Evidence(good.tee, good.mode, report, good.chain, good.crl, good.keys, good.claims)
        return appraise(spoiled, hardware.policy(), hardware.NOW)

    return parse


def tdx_targets() -> list[Target]:
    """Intel's formats, and those of paravisors."""
    machine = hardware.trust_domain()
    quote = machine.evidence_quote(bytes(64))
    collateral = machine.collateral.encode()
    read = decode_collateral(collateral)
    intel = [*read.tcb_info_chain, *read.pck_crl_chain]
    return [
        Target("TDX quote", parse_quote, (QuoteError,), [quote, *genuine("tdx/quotes/*.bin")]),
        Target("collateral", decode_collateral, (CollateralError, DocumentError), [collateral]),
        Target("Intel certificate", parse_p256_certificate, (CertificateError,), intel),
        Target("Intel revocation list", parse_p256_list, (CertificateError,), [read.pck_crl, read.root_crl]),
        Target("event log", parse_event_log, (EventLogError,), [machine.event_log]),
        Target(
            "any event log", read_event_log, (EventLogError,), genuine("tdx/eventlog/*") or [b"[]", b"{}"]
        ),
        Target("GPU report", parse_gpu_report, (GpuReportError,), [gpu.ReportFields().encode()]),
        Target("GPU certificate", p384.parse_certificate, (CertificateError,), list(gpu.chain())),
        Target(
            "GPU payload",
            decode_payload,
            (PayloadError,),
            genuine("nvidia/*gpu_attest*") or [b'{"nonce":""}'],
        ),
        Target("TD report", parse_tdreport, (TdReportError,), [machine.td_report(bytes(64))]),
        Target(
            "PEM",
            decode_pem,
            (PemError,),
            [b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
        ),
        Target("HCL blob", parse_hcl, (HclError,), genuine("snp/azure/hcl-*.bin") or [bytes(2600)]),
        Target("runtime data", decode_runtime_data, (RuntimeDataError,), [b'{"keys":[],"user-data":"00"}']),
        Target(
            "TPM quote",
            parse_tpm_quote,
            (TpmError,),
            genuine("snp/azure/*.msg") or [b"\xffTCG\x80\x18" + bytes(90)],
        ),
    ]


def document_targets() -> list[Target]:
    """Documents and policies."""
    document = hardware.evidence().encode()
    record = evidence_document(document)
    policy = render_policy(hardware.policy()).encode()
    return [
        Target("evidence document", decode_evidence, (EvidenceError,), [document]),
        Target("claims", decode_claims, (EvidenceError,), [hardware.CLAIMS.encode()]),
        Target("CMW in JSON", decode_record_json, (WrapperError,), [encode_record_json(record)]),
        Target("CMW in CBOR", decode_record_cbor, (WrapperError,), [encode_record_cbor(record)]),
        Target("policy", lambda data: parse_policy(data.decode(errors="replace")), (PolicyError,), [policy]),
    ]
