# SPDX-License-Identifier: Apache-2.0
"""Whether a report answers the request, before anybody sees it (attestation.md 6).

The host can return an old report or another machine's. Signatures are the client's to check; what is checked
here is that publishing this report would be of use: its form, its report data, and the level it speaks for.
"""

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha512
from typing import Final

from attestation import evidence
from attestation.collect.errors import OwnReportError
from attestation.snp.report import ReportError, parse_report
from attestation.tdx.quote import QuoteError, parse_quote

REPORT_DATA_SIZE: Final = 64


class Kind(StrEnum):
    """Whose hardware it is, as the evidence document names it."""

    SEV_SNP = evidence.SEV_SNP
    TDX = "tdx"


@dataclass(frozen=True, slots=True)
class Collected:
    """What the hardware returned for `report_data`. `certificates` come from the host and are untrusted.

    `manifest` is what an SVSM says about its services; the report then covers its hash with the report data.
    """

    kind: Kind
    report_data: bytes
    report: bytes = field(repr=False)
    certificates: bytes = field(default=b"", repr=False)
    manifest: bytes = field(default=b"", repr=False)
    level: int = 0

    def check(self) -> None:
        """Raise OwnReportError unless the report is one, and answers the request."""
        try:
            own, level = self._snp() if self.kind is Kind.SEV_SNP else self._tdx()
        except (ReportError, QuoteError) as error:
            raise OwnReportError(f"the hardware's report is none: {error}") from error
        if not hmac.compare_digest(own, self._expected()):
            raise OwnReportError(
                "expected a report with the requested report data, found one with other data"
            )
        if level != self.level:
            raise OwnReportError(f"expected a report of privilege level {self.level}, found level {level}")

    def _snp(self) -> tuple[bytes, int]:
        report = parse_report(self.report)
        return report.report_data, report.vmpl

    def _tdx(self) -> tuple[bytes, int]:
        return parse_quote(self.report).body.report_data, 0

    def _expected(self) -> bytes:
        """AMD 58019 section 7: an SVSM has SHA-512 of the request and its manifest signed."""
        return sha512(self.report_data + self.manifest).digest() if self.manifest else self.report_data
