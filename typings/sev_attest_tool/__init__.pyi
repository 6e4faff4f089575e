"""The part that the benchmark uses."""

SAMPLE_ATTESTATION: str
SAMPLE_VCEK: bytes

def verify_attestation_report(report_json: str, leaf: bytes) -> None: ...
