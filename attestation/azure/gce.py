# SPDX-License-Identifier: Apache-2.0
"""Google's statements about its TDX machines, beside the quote (attestation.md 6, B6 and B11).

Two facts can be checked: MROWNER holds a digest of the instance's project, zone and number (PZID), and a
public registry has a record for each of Google's processors, by PPID. Quote and PPID must be verified before;
the record is only as good as the connection over which somebody fetched it. A fact that was not given, is not
evaluated, which is not the same as passed.
"""

import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha384
from typing import Final

from attestation.case import Finding, NotEvaluatedError, Rule, make_check
from attestation.verdict import Check, Decision
from wire.strict_json import Json

MAX_RECORD_BYTES: Final = 16 * 1024
PPID_SIZE: Final = 16
_ZONE: Final = re.compile("[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_MAX_NUMBER: Final = 2**64 - 1


class InstanceError(Exception):
    """These are no project number, zone and instance number of Google's."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One virtual machine on Google's cloud."""

    project_number: int
    zone: str
    instance_id: int

    def __post_init__(self) -> None:
        """Refuse what has no one encoding."""
        if not _ZONE.fullmatch(self.zone):
            raise InstanceError(f"expected a zone such as europe-west4-a, found {self.zone!r}")
        if not all(0 < number <= _MAX_NUMBER for number in (self.project_number, self.instance_id)):
            raise InstanceError("expected a project and an instance number of 1 to 2^64-1")

    def owner(self) -> bytes:
        """What MROWNER holds for this instance: SHA-384 over its PZID, in the one JSON form Google hashes."""
        members = {
            "instanceId": self.instance_id,
            "numericalProjectId": self.project_number,
            "zone": self.zone,
        }
        return sha384(json.dumps(members, separators=(",", ":")).encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class HostRecord:
    """The registry's answer for one PPID, as received."""

    ppid: bytes
    document: bytes


@dataclass(frozen=True, slots=True)
class GoogleFacts:
    """What is known beside the quote. `mrowner` and `ppid` are of a verified quote; others may be unknown."""

    mrowner: bytes
    ppid: bytes
    instance: Instance | None
    record: HostRecord | None


def appraise_google(facts: GoogleFacts) -> tuple[Check, ...]:
    """Both checks; one whose fact was not given is not evaluated."""
    return tuple(make_check(rule, facts) for rule in RULES)


def _owner(facts: GoogleFacts) -> Finding:
    if facts.instance is None:
        raise NotEvaluatedError("no project, zone and instance were given")
    expected = facts.instance.owner()
    own = facts.mrowner
    return Finding(hmac.compare_digest(own, expected), f"MROWNER {own.hex()}", f"MROWNER {expected.hex()}")


def _host_record(facts: GoogleFacts) -> Finding:
    if facts.record is None:
        raise NotEvaluatedError("no record of the host was given")
    if len(facts.ppid) != PPID_SIZE or facts.record.ppid != facts.ppid:
        expected = f"a record of the host {facts.ppid.hex()}"
        return Finding(ok=False, found=f"a record of the host {facts.record.ppid.hex()}", expected=expected)
    zone = _zone(facts.record.document)
    return Finding(bool(zone), f"a record of a host in {zone}" if zone else "no record of the known form")


def _zone(document: bytes) -> str:
    """The zone of a record; empty for another document, such as an error page. Unknown names are allowed."""
    if len(document) > MAX_RECORD_BYTES:
        return ""
    try:
        record: Json = json.loads(document.decode("utf-8"))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(record, dict):
        return ""
    zone, timestamp = record.get("zone"), record.get("timestamp")
    dated = isinstance(timestamp, (str, int, float)) and type(timestamp) is not bool and timestamp != ""
    return zone if dated and isinstance(zone, str) and zone.isascii() and zone.isprintable() else ""


def _rule(
    section: str, name: str, expected: str, examine: Callable[[GoogleFacts], Finding], why: str
) -> Rule[GoogleFacts]:
    return Rule(section, name, Decision.WRONG_PLATFORM, expected, examine, why)


RULES: Final = (
    _rule(
        "B6",
        "google instance",
        "MROWNER with the digest of the instance",
        _owner,
        "The quote names the one machine that Google started for you.",
    ),
    _rule(
        "B11",
        "google host record",
        "a record in Google's registry for this processor",
        _host_record,
        "Keys are taken out of processors by people who hold them in hand; this one stands at Google's.",
    ),
)
