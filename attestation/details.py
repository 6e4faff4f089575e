# SPDX-License-Identifier: Apache-2.0
"""What a verdict knows of the machine and of the manufacturer's opinion of it, as typed fields.

These are values as read. They are worth what the checks beside them are: a verdict that is not `verified` may
carry values that an attacker chose.
"""

from dataclasses import dataclass
from typing import TypeAlias

from attestation.snp.product import Product, Tcb
from attestation.snp.report import ChipId, GuestPolicy, PlatformInfo, SigningKey
from attestation.tdx.collateral import TcbStatus


@dataclass(frozen=True, slots=True)
class SnpDetails:
    """An SEV-SNP machine and guest (attestation.md 3.1). `provider` is empty for a chip's own key.

    Versions are build, minor, major as in the report; each TCB is in the product's own layout.
    """

    product: Product
    report_version: int
    signing_key: SigningKey
    provider: str
    chip_id: ChipId
    vmpl: int
    abi: tuple[int, int]
    guest_policy: GuestPolicy
    platform_info: PlatformInfo
    reported: Tcb
    committed: Tcb
    launch: Tcb
    current: Tcb
    current_version: bytes
    committed_version: bytes


@dataclass(frozen=True, slots=True)
class TdxTcb:
    """Intel's opinion (attestation.md 5). Times are unix seconds; `expires_at` is the first end of validity
    among TCB info, quoting enclave identity, revocation lists and the certificates of all of them.
    """

    status: TcbStatus
    launch: TcbStatus
    platform: TcbStatus
    module: TcbStatus
    quoting_enclave: TcbStatus
    advisory_ids: tuple[str, ...]
    tcb_date: int
    evaluation_data_number: int
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class TdxDetails:
    """A TDX platform (attestation.md 4). `tcb` is None without collateral that can be read."""

    quote_version: int
    body_type: int
    fmspc: bytes
    pceid: bytes
    ppid: bytes
    tee_tcb_svn: bytes
    mrseam: bytes
    td_attributes: int
    xfam: bytes
    tcb: TdxTcb | None


Details: TypeAlias = SnpDetails | TdxDetails
