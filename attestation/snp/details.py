# SPDX-License-Identifier: Apache-2.0
"""The typed fields of a verdict on an SEV-SNP report."""

from attestation.case import Unreadable
from attestation.details import SnpDetails
from attestation.snp.case import SnpCase
from attestation.snp.product import TcbError, decode_tcb


def snp_details(case: SnpCase) -> SnpDetails | None:
    """The machine behind a report; None where report, chain or a TCB cannot be read."""
    report, chain = case.report.outcome, case.chain.outcome
    if isinstance(report, Unreadable) or isinstance(chain, Unreadable):
        return None
    product, leaf = chain.product, chain.leaf
    try:
        reported, committed, launch, current = (
            decode_tcb(tcb, product)
            for tcb in (report.reported_tcb, report.committed_tcb, report.launch_tcb, report.current_tcb)
        )
    except TcbError:
        return None
    return SnpDetails(
        product=product,
        report_version=report.version,
        signing_key=report.signing_key,
        provider=leaf.provider,
        chip_id=report.chip_id,
        vmpl=report.vmpl,
        abi=report.abi,
        guest_policy=report.policy,
        platform_info=report.platform_info,
        reported=reported,
        committed=committed,
        launch=launch,
        current=current,
        current_version=report.current_version,
        committed_version=report.committed_version,
    )
