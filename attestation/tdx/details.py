# SPDX-License-Identifier: Apache-2.0
"""The typed fields of a verdict on a TDX quote."""

from attestation.case import NotEvaluatedError, Unreadable
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
    try:
        documents = (statements.tcb_info.need(), statements.qe_identity.need())
        lists = (statements.root_crl.need(), statements.pck_crl.need())
        chains = (
            statements.tcb_info_chain.need(),
            statements.qe_identity_chain.need(),
            statements.pck_crl_chain.need(),
        )
    except NotEvaluatedError:
        return None
    ends = [part.next_update for part in (*documents, *lists)]
    ends += [end for chain in chains for end in (chain.issuer.not_after, chain.root.not_after)]
    return min(document.issued_at for document in documents), min(ends)
