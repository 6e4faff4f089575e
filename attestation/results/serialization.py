# SPDX-License-Identifier: Apache-2.0
"""Names and forms of the claims in JSON and in CBOR (EAR section 3, RFC 9711, AR4SI section 3).

In JSON claims are text with underscores and tiers are words; in CBOR both are integers. Claims of our own
keep their names in both. Digests are hexadecimal in JSON and octets in CBOR.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from attestation.results import cmw
from attestation.results.cmw import Record
from attestation.results.ear import ResultError
from attestation.results.trust import Aspect, DebugStatus, Tier
from attestation.results.values import Value, ValueFormError, base64url, decode_base64url

# Claims with an integer in CBOR: CWT (RFC 8392), EAT (RFC 9711), and those of EAR.
KEYS: Final = MappingProxyType(
    {
        "exp": 4,
        "iat": 6,
        "eat_nonce": 10,
        "dbgstat": 263,
        "eat_profile": 265,
        "submods": 266,
        "ear_status": 1000,
        "ear_trustworthiness_vector": 1001,
        "ear_raw_evidence": 1002,
        "ear_appraisal_policy_ids": 1003,
        "ear_verifier_id": 1004,
        "ear_attester_claims": 1005,
        "ear_verifier_claims": 1006,
        "developer": 0,
        "build": 1,
    }
)

ASPECT_NAMES: Final = MappingProxyType({each: each.name.lower().replace("_", "-") for each in Aspect})

_HEX: Final = re.compile("([0-9a-f]{2})*")


@dataclass(frozen=True, slots=True)
class Serialization:
    """One of the two forms. `key` gives a claim's name in it."""

    key: Callable[[str], int | str]
    aspects: Mapping[Aspect, int | str]
    tiers: Mapping[Tier, int | str]
    debug: Mapping[DebugStatus, int | str]
    nonce: Callable[[bytes], Value]
    read_nonce: Callable[[Value], bytes]
    digest: Callable[[bytes], Value]
    read_digest: Callable[[Value], bytes]
    record: Callable[[Record], list[Value]]
    read_record: Callable[[Value], Record]


def _name(claim: str) -> str:
    return claim


def _cbor_key(claim: str) -> int | str:
    return KEYS.get(claim, claim)


def _octets(content: bytes) -> Value:
    return content


def _read_octets(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ResultError("expected octets")
    return value


def _hexadecimal(content: bytes) -> Value:
    return content.hex()


def _read_hexadecimal(value: Value) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ResultError("expected lower case hexadecimal")
    return bytes.fromhex(value)


def _read_base64url(value: Value) -> bytes:
    if not isinstance(value, str):
        raise ResultError("expected base64url")
    try:
        return decode_base64url(value)
    except ValueFormError as error:
        raise ResultError(str(error)) from error


JSON: Final = Serialization(
    key=_name,
    aspects=ASPECT_NAMES,
    tiers=MappingProxyType({each: each.name.lower() for each in Tier}),
    debug=MappingProxyType({each: each.value[0] for each in DebugStatus}),
    nonce=base64url,
    read_nonce=_read_base64url,
    digest=_hexadecimal,
    read_digest=_read_hexadecimal,
    record=cmw.record_to_json,
    read_record=cmw.record_from_json,
)

CBOR: Final = Serialization(
    key=_cbor_key,
    aspects=MappingProxyType({each: int(each) for each in Aspect}),
    tiers=MappingProxyType({each: int(each) for each in Tier}),
    debug=MappingProxyType({each: each.value[1] for each in DebugStatus}),
    nonce=_octets,
    read_nonce=_read_octets,
    digest=_octets,
    read_digest=_read_octets,
    record=cmw.record_to_cbor,
    read_record=cmw.record_from_cbor,
)
