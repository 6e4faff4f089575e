"""The part that the benchmark uses."""

class Policy:
    def __init__(
        self, *, measurement: bytes, report_data: bytes, max_vmpl: int, reject_debug: bool
    ) -> None: ...

def verify(
    report: bytes, leaf: bytes, intermediate: bytes, root: bytes, root_sha256: bytes, policy: Policy
) -> None: ...
