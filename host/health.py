# SPDX-License-Identifier: Apache-2.0
"""Whether the enclave can prove itself: its evidence is there and its claims have not expired.

The host cannot verify evidence, and nobody should take its word: this is for the operator's own monitoring.
"""

import base64
import json


def claims_expire_at(evidence: bytes) -> int:
    """When the evidence in this document expires, in unix seconds; 0 for what is no evidence document."""
    try:
        document: object = json.loads(evidence)
        encoded: object = document["claims"] if isinstance(document, dict) else ""
        claims: object = json.loads(base64.b64decode(str(encoded), validate=True))
        expires: object = claims["exp"] if isinstance(claims, dict) else 0
    except (ValueError, KeyError):
        return 0
    return expires if type(expires) is int else 0
