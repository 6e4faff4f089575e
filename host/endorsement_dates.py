# SPDX-License-Identifier: Apache-2.0
"""Until when a vendor's answer is good: `nextUpdate` of revocation lists and of Intel's signed JSON.

The host asks again in time; whether an answer is good at all, clients decide by their own clock.
"""

import json
from datetime import UTC, datetime
from typing import Final

from host.endorsement_forms import FormError, signed_json
from host.endorsement_requests import Form, Request

SEQUENCE, INTEGER, UTC_TIME, GENERALIZED_TIME = 0x30, 0x02, 0x17, 0x18
FORMATS: Final = {UTC_TIME: "%y%m%d%H%M%SZ", GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


def next_update(request: Request, content: bytes) -> int | None:
    """In unix seconds; None for what has no such date, as certificates, whose own are years away."""
    match request.form:
        case Form.JSON:
            return next_update_of_json(content)
        case Form.DER:
            return next_update_of_list(content)
        case Form.PEM:
            return None


def next_update_of_json(content: bytes) -> int | None:
    """Of TCB info or an enclave's identity, as PCS answers."""
    try:
        value: dict[str, str] = json.loads(signed_json(content).content)
        moment = datetime.strptime(value["nextUpdate"], "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - UTC by its Z
    except (FormError, ValueError, KeyError, TypeError):
        return None
    return int(moment.replace(tzinfo=UTC).timestamp())


def next_update_of_list(content: bytes) -> int | None:
    """Of a CertificateList (RFC 5280 section 5.1): version, algorithm, issuer, this update, next update."""
    try:
        _, outer, _ = _element(content)
        _, fields, _ = _element(outer)
        tag, _, rest = _element(fields)
        if tag == INTEGER:  # the version; a certificate begins with another tag
            tag, _, rest = _element(rest)
        if tag != SEQUENCE:
            return None
        _, _, rest = _element(rest)
        _, _, rest = _element(rest)
        tag, value, _ = _element(rest)
        moment = datetime.strptime(value.decode("ascii"), FORMATS[tag])  # noqa: DTZ007 - UTC by its Z
    except (ValueError, KeyError, IndexError):
        return None
    return int(moment.replace(tzinfo=UTC).timestamp())


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content, and what follows. Raises IndexError and ValueError."""
    tag, length, start = data[0], data[1], 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("cut short")
    return tag, data[start : start + length], data[start + length :]
