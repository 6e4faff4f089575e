# SPDX-License-Identifier: Apache-2.0
"""Results to claims and back. What is read has exactly the claims that are written here, each of its type."""

from typing import Final

from attestation.results.cmw import Record, WrapperError
from attestation.results.ear import (
    PROFILE,
    Appraisal,
    AttestationResult,
    AttesterClaims,
    CheckResult,
    Enclave,
    ResultError,
    VerifierClaims,
    VerifierId,
)
from attestation.results.members import Claims, Members, one_of
from attestation.results.platform import encode_platform, read_platform
from attestation.results.serialization import Serialization
from attestation.results.trust import Aspect
from attestation.results.values import Value

PREFIX: Final = "sottovoce_"
MAX_CHECKS: Final = 256
OUTCOMES: Final = frozenset({"pass", "note", "fail", "not evaluated", "waived"})
VENDOR_ROOTS: Final = frozenset({"amd", "intel", "nvidia", "simulated", "unknown"})


def encode(result: AttestationResult, form: Serialization) -> Claims:
    """The claims of a result."""
    claims: Claims = {
        form.key("eat_profile"): PROFILE,
        form.key("iat"): result.issued_at,
        form.key("ear_verifier_id"): {
            form.key("developer"): result.verifier.developer,
            form.key("build"): result.verifier.build,
        },
        form.key("submods"): {label: _appraisal(each, form) for label, each in result.appraisals},
    }
    if result.expires_at is not None:
        claims[form.key("exp")] = result.expires_at
    if result.nonce is not None:
        claims[form.key("eat_nonce")] = form.nonce(result.nonce)
    if result.raw_evidence is not None:
        claims[form.key("ear_raw_evidence")] = form.record(result.raw_evidence)
    return claims


def decode(value: Value, form: Serialization) -> AttestationResult:
    """The result in some claims. Raises ResultError for claims that are missing, unknown or malformed."""
    members = Members.of(value, form)
    if members.text("eat_profile") != PROFILE:
        raise ResultError(f"expected the profile {PROFILE}")
    nonce, raw = members.take("eat_nonce"), members.take("ear_raw_evidence")
    verifier = Members.of(members.take("ear_verifier_id"), form)
    result = AttestationResult(
        issued_at=members.integer("iat"),
        expires_at=members.integer("exp") if members.has("exp") else None,
        verifier=VerifierId(verifier.text("developer"), verifier.text("build")),
        nonce=None if nonce is None else form.read_nonce(nonce),
        raw_evidence=None if raw is None else _read_record(raw, form),
        appraisals=_read_appraisals(members.take("submods"), form),
    )
    verifier.end()
    members.end()
    return result


def _appraisal(appraisal: Appraisal, form: Serialization) -> Claims:
    vector: Claims = {form.aspects[aspect]: value for aspect, value in appraisal.vector}
    policy_ids: list[Value] = list(appraisal.policy_ids)
    claims: Claims = {
        form.key("ear_status"): form.tiers[appraisal.status],
        form.key("ear_trustworthiness_vector"): vector,
        form.key("ear_appraisal_policy_ids"): policy_ids,
        form.key("ear_verifier_claims"): _verifier_claims(appraisal.verifier, form),
    }
    if attester := _attester_claims(appraisal.attester, form):
        claims[form.key("ear_attester_claims")] = attester
    return claims


def _attester_claims(attester: AttesterClaims, form: Serialization) -> Claims:
    claims: Claims = {}
    if attester.debug is not None:
        claims[form.key("dbgstat")] = form.debug[attester.debug]
    if (enclave := attester.enclave) is not None:
        claims |= {
            PREFIX + "tee": enclave.tee,
            PREFIX + "measurement": form.digest(enclave.measurement),
            PREFIX + "audience": enclave.audience,
            PREFIX + "deployment": enclave.deployment,
            PREFIX + "model": form.digest(enclave.model),
            PREFIX + "release": form.digest(enclave.release),
            PREFIX + "configuration": form.digest(enclave.configuration),
            PREFIX + "epoch": enclave.epoch,
        }
    return claims


def _verifier_claims(verifier: VerifierClaims, form: Serialization) -> Claims:
    checks: list[Value] = [[each.section, each.name, each.outcome] for each in verifier.checks]
    claims: Claims = {
        PREFIX + "vendor_root": verifier.vendor_root,
        PREFIX + "verified": verifier.verified,
        PREFIX + "checks": checks,
    }
    if verifier.platform is not None:
        claims[PREFIX + "platform"] = encode_platform(verifier.platform, form)
    return claims


def _read_appraisals(value: Value, form: Serialization) -> tuple[tuple[str, Appraisal], ...]:
    if not isinstance(value, dict):
        raise ResultError("expected submodules by their labels")
    found: list[tuple[str, Appraisal]] = []
    for label, item in value.items():
        if not isinstance(label, str):
            raise ResultError("expected text as label of a submodule")
        found.append((label, _read_appraisal(Members.of(item, form), form)))
    return tuple(found)


def _read_appraisal(members: Members, form: Serialization) -> Appraisal:
    attester: AttesterClaims = AttesterClaims(None, None)
    if members.has("ear_attester_claims"):
        attester = _read_attester(Members.of(members.take("ear_attester_claims"), form), form)
    appraisal = Appraisal(
        status=one_of(form.tiers, members.take("ear_status")),
        vector=_read_vector(members.take("ear_trustworthiness_vector"), form),
        policy_ids=_texts(members.take("ear_appraisal_policy_ids")),
        attester=attester,
        verifier=_read_verifier(Members.of(members.take("ear_verifier_claims"), form)),
    )
    members.end()
    return appraisal


def _read_vector(value: Value, form: Serialization) -> tuple[tuple[Aspect, int], ...]:
    if not isinstance(value, dict):
        raise ResultError("expected a vector of aspects")
    vector: dict[Aspect, int] = {}
    for key, item in value.items():
        if type(item) is not int:
            raise ResultError("expected integers in the vector")
        vector[one_of(form.aspects, key)] = item
    return tuple(sorted(vector.items()))


def _read_attester(members: Members, form: Serialization) -> AttesterClaims:
    debug = one_of(form.debug, members.take("dbgstat")) if members.has("dbgstat") else None
    enclave = _read_enclave(members, form) if members.has(PREFIX + "tee") else None
    if debug is None and enclave is None:
        raise ResultError("expected no claims of the attester rather than empty ones")
    members.end()
    return AttesterClaims(debug, enclave)


def _read_enclave(members: Members, form: Serialization) -> Enclave:
    return Enclave(
        tee=members.text(PREFIX + "tee"),
        measurement=form.read_digest(members.take(PREFIX + "measurement")),
        audience=members.text(PREFIX + "audience"),
        deployment=members.text(PREFIX + "deployment"),
        model=form.read_digest(members.take(PREFIX + "model")),
        release=form.read_digest(members.take(PREFIX + "release")),
        configuration=form.read_digest(members.take(PREFIX + "configuration")),
        epoch=members.integer(PREFIX + "epoch"),
    )


def _read_verifier(members: Members) -> VerifierClaims:
    root, verified = members.text(PREFIX + "vendor_root"), members.take(PREFIX + "verified")
    checks = members.take(PREFIX + "checks")
    if root not in VENDOR_ROOTS or not isinstance(verified, bool):
        raise ResultError("expected a vendor's root, and whether the evidence was verified")
    if not isinstance(checks, list) or len(checks) > MAX_CHECKS:
        raise ResultError(f"expected a list of up to {MAX_CHECKS} checks")
    platform = None
    if members.has(PREFIX + "platform"):
        platform = read_platform(members.inner(PREFIX + "platform"))
    members.end()
    return VerifierClaims(root, verified, tuple(map(_read_check, checks)), platform)


def _read_check(value: Value) -> CheckResult:
    match value:
        case [str(section), str(name), str(outcome)] if outcome in OUTCOMES:
            return CheckResult(section, name, outcome)
        case _:
            raise ResultError("expected ids, name and outcome of a check")


def _read_record(value: Value, form: Serialization) -> Record:
    try:
        return form.read_record(value)
    except WrapperError as error:
        raise ResultError(str(error)) from error


def _texts(value: Value) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ResultError("expected a list of text")
    texts = tuple(item for item in value if isinstance(item, str))
    if len(texts) != len(value):
        raise ResultError("expected a list of text")
    return texts
