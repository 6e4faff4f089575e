# SPDX-License-Identifier: Apache-2.0
"""The checks that do not depend on the hardware's vendor: form of evidence, keys, claims, age and purpose."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from attestation import binding
from attestation.cache import Cache, content_key
from attestation.case import Finding, Part, Rule, Unreadable, attempt
from attestation.evidence import TEES, Claims, Evidence, decode_claims
from attestation.policy import AnyModel, Policy
from attestation.verdict import Decision
from wire import ohttp

PROTOCOL_VERSION: Final = 1
"""The version of the protocol that this client speaks (wire.md 6.3, claim `min`)."""

KeyList: TypeAlias = tuple[ohttp.KeyConfiguration, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """What a document says apart from the hardware's part: the keys to talk to, and the enclave's claims."""

    evidence: Evidence
    policy: Policy
    now: int
    keys: Part[KeyList]
    claims: Part[Claims]


def open_session(evidence: Evidence, policy: Policy, now: int, key_lists: Cache[KeyList]) -> Session:
    """Parse keys and claims; what cannot be read is kept as such."""
    return Session(
        evidence,
        policy,
        now,
        Part("key list", _open_key_list(evidence.keys, key_lists)),
        Part("claims", attempt(decode_claims, evidence.claims)),
    )


def _open_key_list(encoded: bytes, cache: Cache[KeyList]) -> KeyList | Unreadable:
    """The keys of an epoch serve many documents, and to try them out costs a fifth of a verification."""
    key = content_key(encoded)
    keys = cache.find(key)
    if keys is not None:
        return keys
    outcome = attempt(ohttp.decode_key_list, encoded)
    if not isinstance(outcome, Unreadable):
        cache.keep(key, outcome)
    return outcome


def _evidence_form(case: Session) -> Finding:
    evidence = case.evidence
    known = evidence.tee in TEES and evidence.mode == binding.CACHED
    return Finding(known, f"{evidence.tee} in mode {evidence.mode}")


def _key_list(case: Session) -> Finding:
    keys = case.keys.examine()
    return Finding(True, f"{len(keys)} keys")


def _claims(case: Session) -> Finding:
    claims = case.claims.examine()
    return Finding(True, f"claims of deployment {claims.deployment}, epoch {claims.epoch}")


def _protocol_version(case: Session) -> Finding:
    minimum = case.claims.need().minimum_version
    return Finding(minimum <= PROTOCOL_VERSION, f"a demand for version {minimum} or later")


def _evidence_age(case: Session) -> Finding:
    claims, policy = case.claims.need(), case.policy
    age, left = case.now - claims.issued_at, claims.expires_at - case.now
    validity = claims.expires_at - claims.issued_at
    current = age >= -policy.clock_skew_seconds and left > 0 and 0 < validity <= policy.max_validity_seconds
    return Finding(
        current,
        f"issued {age} s ago, valid for {left} s more",
        f"issued no more than {policy.clock_skew_seconds} s ahead of this clock, "
        f"not expired, and valid for up to {policy.max_validity_seconds} s in all",
    )


def _audience(case: Session) -> Finding:
    audience, accepted = case.claims.need().audience, case.policy.audiences
    expected = " or ".join(sorted(accepted)) or "an audience, but the policy names none"
    return Finding(audience in accepted, audience, expected)


def _model(case: Session) -> Finding:
    model, models = case.claims.need().model, case.policy.models
    if isinstance(models, AnyModel):
        return Finding(True, f"{model.hex()}; the policy accepts any model")
    expected = ", ".join(sorted(known.hex() for known in models)) or "a model, but the policy names none"
    return Finding(model in models, model.hex(), expected)


FORM: Final[tuple[Rule[Session], ...]] = (
    Rule(
        "X2",
        "evidence form",
        Decision.UNTRUSTED,
        "sev-snp or tdx in mode 0",
        _evidence_form,
        "Evidence of a kind this client does not know proves nothing to it.",
    ),
)

SESSION: Final[tuple[Rule[Session], ...]] = (
    Rule(
        "X5",
        "key list",
        Decision.UNTRUSTED,
        "a list of public keys in its standard form",
        _key_list,
        "These are the keys that your messages will be encrypted to.",
    ),
    Rule(
        "X5",
        "claims",
        Decision.UNTRUSTED,
        "claims in their canonical form",
        _claims,
        "What the enclave says about itself must have one meaning.",
    ),
    Rule(
        "X5",
        "protocol version",
        Decision.UNTRUSTED,
        f"a protocol that includes version {PROTOCOL_VERSION}",
        _protocol_version,
        "The enclave can rule out older protocols, so nobody can talk you into one.",
    ),
    Rule(
        "X4",
        "evidence age",
        Decision.EXPIRED,
        "current evidence",
        _evidence_age,
        "Old evidence may be for keys that have leaked since.",
    ),
    Rule(
        "X5",
        "audience",
        Decision.WRONG_AUDIENCE,
        "an accepted audience",
        _audience,
        "The enclave answers for the address you asked, not for another deployment of the same code.",
    ),
    Rule(
        "X5",
        "model",
        Decision.WRONG_MODEL,
        "an accepted model",
        _model,
        "The model that answers is one you accept.",
    ),
)
