# SPDX-License-Identifier: Apache-2.0
"""Which policy applies, and what a verdict says to a person or a program."""

import json
import os
from importlib import metadata
from pathlib import Path

from attestation.evidence import TDX
from attestation.policy import (
    AnyMachine,
    Policy,
    PolicyError,
    default_policy,
    parse_policy,
    render_policy,
    with_audience,
)
from attestation.results.appraisal import policy_id, result_of
from attestation.results.ear import NONCE_SIZES, AttestationResult, VerifierId
from attestation.results.platform import encode_platform
from attestation.results.serialization import JSON
from attestation.results.values import Value
from attestation.tdx.event_log import Explanation
from attestation.verdict import Verdict
from models.manifest import catalogue
from sottovoce.one_time_keys import Assurance

SIMULATED_POLICY = Path("sottovoce") / "simulated" / "policy.toml"


class NoPolicyError(Exception):
    """The policy that was asked for is not there, or is not one."""


def simulated_policy_path() -> Path:
    """Where the simulated vendor of this user leaves the policy that accepts it."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / SIMULATED_POLICY


def choose_policy(url: str | None, *, file: Path | None, simulated: bool) -> Policy:
    """The policy of the command line, for the origin that was asked for; files have none.

    Raises NoPolicyError.
    """
    if file is None and simulated:
        file = simulated_policy_path()
        if not file.exists():
            raise NoPolicyError(
                f"there is no simulated vendor on this machine ({file} is missing); make run makes one"
            )
    policy = default_policy() if file is None else _read(file)
    if url is None:
        return policy
    try:
        return with_audience(policy, origin(url))
    except PolicyError as error:
        raise NoPolicyError(str(error)) from None


def origin(url: str) -> str:
    """Scheme, host and port of a URL, in lower case."""
    scheme, _, rest = url.lower().partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _read(file: Path) -> Policy:
    try:
        return parse_policy(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, PolicyError) as error:
        raise NoPolicyError(f"{file}: {error}") from None


def model_name(digest: bytes) -> str:
    """The name of these weights, where the catalogue knows them."""
    names = [manifest.name for manifest in catalogue().values() if manifest.digest == digest]
    return names[0] if names else "unknown to this client"


def judgement_json(
    verdict: Verdict,
    registers: tuple[Explanation, ...] = (),
    assurance: Assurance | None = None,
) -> str:
    """The verdict as one JSON object, with what an event log explained where there was one."""
    return json.dumps(judgement(verdict, registers, assurance))


def judgement(
    verdict: Verdict,
    registers: tuple[Explanation, ...] = (),
    assurance: Assurance | None = None,
) -> dict[str, object]:
    """The members of that object.

    `assurance` is that of the session, where there is one.
    """
    said = verdict.claims
    document: dict[str, object] = {
        "verified": verdict.verified,
        "refused": verdict.refused,
        "simulated": verdict.simulated,
        "assurance": None if assurance is None else assurance.value,
        "tee": verdict.tee,
        "vendor_root": verdict.vendor_root.value,
        "measurement": verdict.measurement.hex(),
        "model": said.model.hex() if said else None,
        "model_name": model_name(said.model) if said else None,
        "audience": said.audience if said else None,
        "expires_at": said.expires_at if said else None,
        "platform": encode_platform(verdict.details, JSON) if verdict.details else None,
        "checks": [
            {
                "name": check.name,
                "id": check.section,
                "outcome": check.outcome.value,
                "ok": check.ok,
                "detail": check.detail,
                "why": check.why,
            }
            for check in verdict.checks
        ],
    }
    explained: dict[str, object] = {"event_log": [_register(item) for item in registers]} if registers else {}
    return document | explained


def _register(item: Explanation) -> dict[str, Value]:
    """How one register came about. Data is shown where the measured digest is its own."""
    events: list[Value] = [
        {
            "type": event.name,
            "digest": event.digest.hex(),
            "data": event.data.hex() if event.covers_data else None,
        }
        for event in item.events
    ]
    return {"rtmr": item.rtmr, "explained": item.complete, "events": events}


def result_of_verdict(
    verdict: Verdict, policy: Policy, *, now: int, nonce: bytes | None
) -> AttestationResult:
    """The verdict as an EAT Attestation Result (attestation.md 9)."""
    return result_of(
        verdict,
        issued_at=now,
        verifier=VerifierId("sottovoce", metadata.version("sottovoce")),
        policy_ids=(policy_id(render_policy(policy).encode("utf-8")),),
        machines_are_named=_names_machines(policy, verdict.tee),
        nonce=nonce if nonce is not None and len(nonce) in NONCE_SIZES else None,
    )


def _names_machines(policy: Policy, tee: str) -> bool:
    """Whether the policy lists machines of this kind of hardware, so that an accepted one is recognized."""
    accepted = policy.tdx.ppids if tee == TDX else policy.machines
    return isinstance(accepted, frozenset)


__all__ = [
    "AnyMachine",
    "NoPolicyError",
    "choose_policy",
    "judgement",
    "judgement_json",
    "model_name",
    "origin",
    "result_of_verdict",
]
