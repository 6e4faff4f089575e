# SPDX-License-Identifier: Apache-2.0
"""The typed fields of a verdict on a TDX quote."""

from attestation.case import Unreadable
from attestation.details import TdxDetails, TdxTcb
from attestation.tdx.platform import Statements
from attestation.tdx.rules import QuoteCase
from attestation.tdx.tcb import TcbResult


def tdx_details(case: QuoteCase) -> TdxDetails | None:
    """The platform behind a quote; None where quote or certificates cannot be read."""
    quote, chain = case.quote.outcome, case.platform.chain.outcome
    if isinstance(quote, Unreadable) or isinstance(chain, Unreadable):
        return None
    result = case.result.outcome
    return TdxDetails(
        quote_version=quote.header.version,
        body_type=quote.body_type.value,
        fmspc=chain.pck.fmspc,
        pceid=chain.pck.pceid,
        ppid=chain.pck.ppid,
        tee_tcb_svn=quote.body.tee_tcb_svn,
        mrseam=quote.body.mrseam,
        td_attributes=quote.body.attributes,
        xfam=quote.body.xfam,
        tcb=None if isinstance(result, Unreadable) else _tcb(result, case.platform.statements),
    )


def _tcb(result: TcbResult, statements: Statements) -> TdxTcb | None:
    """None where a part of the collateral cannot be read, because then nobody knows when it ends."""
    dates = _dates(statements)
    if dates is None:
        return None
    issued_at, expires_at = dates
    return TdxTcb(
        status=result.status,
        launch=result.launch,
        platform=result.platform_status,
        module=result.module_status,
        quoting_enclave=result.qe_status,
        advisory_ids=result.advisory_ids,
        tcb_date=result.tcb_date,
        evaluation_data_number=result.evaluation_data_number,
        issued_at=issued_at,
        expires_at=expires_at,
    )


def _dates(statements: Statements) -> tuple[int, int] | None:
    """When the older of the two statements was issued, and when the first part of all ends."""
    documents = (statements.tcb_info.outcome, statements.qe_identity.outcome)
    lists = (statements.root_crl.outcome, statements.pck_crl.outcome)
    chains = (
        statements.tcb_info_chain.outcome,
        statements.qe_identity_chain.outcome,
        statements.pck_crl_chain.outcome,
    )
    issued, ends = list[int](), list[int]()
    for document in documents:
        if isinstance(document, Unreadable):
            return None
        issued.append(document.issued_at)
        ends.append(document.next_update)
    for revocations in lists:
        if isinstance(revocations, Unreadable):
            return None
        ends.append(revocations.next_update)
    for chain in chains:
        if isinstance(chain, Unreadable):
            return None
        ends += [chain.issuer.not_after, chain.root.not_after]
    return min(issued), min(ends)
