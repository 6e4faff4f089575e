# SPDX-License-Identifier: Apache-2.0
"""Which policy applies, and what a verdict says to a person or a program."""

import json
import os
from pathlib import Path

from attestation.policy import AnyMachine, Policy, PolicyError, default_policy, parse_policy, with_audience
from attestation.verdict import Verdict
from models.manifest import catalogue

SIMULATED_POLICY = Path("sottovoce") / "simulated" / "policy.toml"


class NoPolicyError(Exception):
    """The policy that was asked for is not there, or is not one."""


def simulated_policy_path() -> Path:
    """Where the simulated vendor of this user leaves the policy that accepts it."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / SIMULATED_POLICY


def choose_policy(url: str, *, file: Path | None, simulated: bool) -> Policy:
    """The policy of the command line, for the origin that was asked for.

    Raises NoPolicyError.
    """
    if file is None and simulated:
        file = simulated_policy_path()
        if not file.exists():
            raise NoPolicyError(
                f"there is no simulated vendor on this machine ({file} is missing); make run makes one"
            )
    policy = default_policy() if file is None else _read(file)
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


def verdict_json(verdict: Verdict) -> str:
    """The verdict as one JSON object."""
    claims = verdict.claims
    document = {
        "verified": verdict.verified,
        "simulated": verdict.simulated,
        "tee": verdict.tee,
        "vendor_root": verdict.vendor_root.value,
        "measurement": verdict.measurement.hex(),
        "model": claims.model.hex() if claims else None,
        "model_name": model_name(claims.model) if claims else None,
        "audience": claims.audience if claims else None,
        "expires_at": claims.expires_at if claims else None,
        "checks": [
            {"name": check.name, "ok": check.ok, "detail": check.detail, "why": check.why}
            for check in verdict.checks
        ],
    }
    return json.dumps(document)


__all__ = ["AnyMachine", "NoPolicyError", "choose_policy", "model_name", "origin", "verdict_json"]
