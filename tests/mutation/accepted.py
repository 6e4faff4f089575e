# SPDX-License-Identifier: Apache-2.0
"""Mistakes that no test can notice, each with the reason: module, line of code, change."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_SAME_LENGTH: Final = "both have one component for each of 16 places, by the parsers that made them"
_SIZE_OF_MEMORY: Final = "how much is remembered changes no verdict"

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
            "attestation.snp.certificates",
            "key: ec.EllipticCurvePublicKey = field(repr=False)",
            "False becomes True",
        ): "the key is public, and how a value is shown decides nothing",
    }
)
