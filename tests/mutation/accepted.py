# SPDX-License-Identifier: Apache-2.0
"""Mistakes that no test can notice, each with the reason: module, line of code, change."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_SAME_LENGTH: Final = "both have one component for each of 16 places, by the parsers that made them"
_SIZE_OF_MEMORY: Final = "how much is remembered changes no verdict"
_SHOWN: Final = "how a part of the evidence is shown decides nothing, and none of it is secret"
_FIELD: Final = "field(repr=False)"
_NOT_SHOWN: Final = (
    ("azure.checks", f"hcl_blob: bytes = {_FIELD}"),
    ("azure.checks", f"quote: bytes = {_FIELD}"),
    ("azure.checks", f"signature: tpm.Signature = {_FIELD}"),
    ("azure.checks", 'td_quote: bytes = field(default=b"", repr=False)'),
    ("azure.checks", f"evidence: bytes = {_FIELD}"),
    ("tdx.collateral", f"tcb_info: bytes = {_FIELD}"),
    ("tdx.collateral", f"tcb_info_chain: tuple[bytes, ...] = {_FIELD}"),
    ("tdx.collateral", f"qe_identity: bytes = {_FIELD}"),
    ("tdx.collateral", f"qe_identity_chain: tuple[bytes, ...] = {_FIELD}"),
    ("tdx.collateral", f"pck_crl: bytes = {_FIELD}"),
    ("tdx.collateral", f"pck_crl_chain: tuple[bytes, ...] = {_FIELD}"),
    ("tdx.collateral", f"root_crl: bytes = {_FIELD}"),
    ("snp.certificates", f"key: ec.EllipticCurvePublicKey = {_FIELD}"),
)

ACCEPTED: Final[Mapping[tuple[str, str, str], str]] = MappingProxyType(
    {
        (
            "attestation.tdx.tcb",
            "all(own >= least for own, least in zip(pck.components, level.sgx_components, strict=True))",
            "True becomes False",
        ): _SAME_LENGTH,
        (
            "attestation.tdx.tcb",
            "own >= least for own, least in zip(tee_tcb_svn[first:], level.tdx_components[first:], "
            "strict=True)",
            "True becomes False",
        ): _SAME_LENGTH,
        (
            "attestation.tdx.platform",
            "DEFAULT_CAPACITY: Final = 64",
            "64 becomes 65",
        ): _SIZE_OF_MEMORY,
        (
            "attestation.tdx.platform",
            "DEFAULT_CAPACITY: Final = 64",
            "64 becomes 63",
        ): _SIZE_OF_MEMORY,
        (
            "attestation.tdx.collateral",
            "return lists[0]",
            "0 becomes -1",
        ): "there is one list, or the line before refuses",
        (
            "attestation.tdx.collateral",
            'return len(text) % 2 == 0 and set(text) <= set("0123456789abcdefABCDEF")',
            "2 becomes 1",
        ): "text of odd length is refused as hexadecimal and as base64, with the same exception",
        **{(f"attestation.{module}", line, "False becomes True"): _SHOWN for module, line in _NOT_SHOWN},
    }
)
