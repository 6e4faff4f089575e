# SPDX-License-Identifier: Apache-2.0
"""Whether the enclave can prove itself: its evidence is there and its claims have not expired.

The host cannot verify evidence, and nobody should take its word: this is for the operator's own monitoring.
"""

import base64
import json


def claims_expire_at(evidence: bytes) -> int:
    """When the evidence in this document expires, in unix seconds; 0 for what is no evidence document."""
    try:
        document: dict[str, str] = json.loads(evidence)
        claims: dict[str, int] = json.loads(base64.b64decode(document["claims"], validate=True))
        expires = claims["exp"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return expires if type(expires) is int else 0
