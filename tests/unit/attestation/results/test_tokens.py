# SPDX-License-Identifier: Apache-2.0
"""Tokens: round trips, vectors, and strict refusal of everything else."""

import base64
import json
from collections.abc import Callable

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.results import claims, cmw, cwt, jwt
from attestation.results.ear import AttestationResult, ResultError
from attestation.results.keys import SigningKey, sign
from attestation.results.serialization import CBOR, JSON
from attestation.results.values import Value, base64url, decode_json, encode_cbor, encode_json
from tests.unit.attestation.results.make_vectors import FOLDER, files, results
from tests.unit.attestation.results.support import ED25519, P256, result, verdict

KEYS: dict[str, SigningKey] = {"es256": P256, "eddsa": ED25519}
Tree = dict[int | str, Value]


def read_vectors() -> dict[str, dict[str, str]]:
    vectors: dict[str, dict[str, str]] = json.loads((FOLDER / "ear.json").read_text(encoding="ascii"))
    return vectors


@pytest.mark.parametrize("name", ["ear.json", "cmw.json"])
def test_the_checked_in_vectors_are_those_that_are_made(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="ascii") == files()[name]


@pytest.mark.parametrize("name", sorted(results()))
def test_every_vector_is_read_as_the_result_it_was_made_of(name: str) -> None:
    expected, vector = results()[name], read_vectors()[name]
    for kind, key in KEYS.items():
        assert jwt.decode_jwt(vector[f"jwt_{kind}"], key.public_key()) == expected
        assert cwt.decode_cwt(bytes.fromhex(vector[f"cwt_{kind}"]), key.public_key()) == expected
    assert jwt.decode_unsecured_jwt(vector["jwt_unsecured"]) == expected
    assert cwt.decode_claims(bytes.fromhex(vector["claims_cbor"])) == expected


def test_the_claims_have_the_names_of_the_draft() -> None:
    found = claims.encode(result(nonce=bytes(8)), JSON)
    assert set(found) == {"eat_profile", "iat", "exp", "ear_verifier_id", "submods", "eat_nonce"}
    assert found["eat_profile"] == "tag:ietf.org,2026:rats/ear#04"
    submods = found["submods"]
    assert isinstance(submods, dict)
    appraisal = submods["cpu"]
    assert isinstance(appraisal, dict)
    assert appraisal["ear_status"] == "affirming"
    assert appraisal["ear_trustworthiness_vector"] == {"executables": 3, "hardware": 2, "runtime-opaque": 2}
    assert isinstance(appraisal["ear_appraisal_policy_ids"], list)
    assert "ear_attester_claims" in appraisal
    assert "ear_verifier_claims" in appraisal


def test_the_claims_have_the_keys_of_the_draft() -> None:
    found = claims.encode(result(nonce=bytes(8)), CBOR)
    assert set(found) == {265, 6, 4, 1004, 266, 10}
    assert found[1004] == {0: "https://sottovoce.example", 1: "sottovoce 0.1.0"}
    submods = found[266]
    assert isinstance(submods, dict)
    appraisal = submods["cpu"]
    assert isinstance(appraisal, dict)
    assert appraisal[1000] == 2
    assert appraisal[1001] == {2: 3, 4: 2, 5: 2}
    assert {1000, 1001, 1003, 1005, 1006} == set(appraisal)


@pytest.mark.parametrize(
    ("failed", "text", "number"), [((), "disabled-since-boot", 2), (("debug",), "enabled", 0)]
)
def test_dbgstat_is_text_in_json_and_an_integer_in_cbor(
    failed: tuple[str, ...], text: str, number: int
) -> None:
    each = result(verdict(failed=failed))
    assert attester(claims.encode(each, JSON), "submods", "ear_attester_claims")["dbgstat"] == text
    assert attester(claims.encode(each, CBOR), 266, 1005)[263] == number


@pytest.mark.parametrize("wrong", [2, "disabled-permanently", "2", None, True])
def test_dbgstat_of_another_form_is_refused_in_json(wrong: Value) -> None:
    tree = claims.encode(result(), JSON)
    attester(tree, "submods", "ear_attester_claims")["dbgstat"] = wrong
    with pytest.raises(ResultError):
        claims.decode(tree, JSON)


@pytest.mark.parametrize("wrong", ["disabled-since-boot", 1, 3, False, None])
def test_dbgstat_of_another_form_is_refused_in_cbor(wrong: Value) -> None:
    tree = claims.encode(result(), CBOR)
    attester(tree, 266, 1005)[263] = wrong
    with pytest.raises(ResultError):
        claims.decode(tree, CBOR)


def attester(tree: Tree, submods: int | str, name: int | str) -> Tree:
    return branch(branch(branch(tree, submods), "cpu"), name)


def branch(tree: Tree, name: int | str) -> Tree:
    found = tree[name]
    assert isinstance(found, dict)
    return found


def without(name: str) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        del tree[name]

    return change


def setting(value: Value, *path: str) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        for name in path[:-1]:
            tree = branch(tree, name)
        tree[path[-1]] = value

    return change


CPU = ("submods", "cpu")
SPOILED: dict[str, Callable[[Tree], None]] = {
    "no profile": without("eat_profile"),
    "old profile": setting("tag:github.com,2023:veraison/ear", "eat_profile"),
    "no iat": without("iat"),
    "iat as text": setting("1790000000", "iat"),
    "iat true": setting(True, "iat"),
    "iat negative": setting(-1, "iat"),
    "iat as a fraction": setting(1.5, "iat"),
    "exp before iat": setting(5, "exp"),
    "exp null": setting(None, "exp"),
    "unknown claim": setting(1, "extra"),
    "dotted name": setting("affirming", *CPU, "ear.status"),
    "no verifier": without("ear_verifier_id"),
    "verifier without build": setting({"developer": "x"}, "ear_verifier_id"),
    "verifier with more": setting({"developer": "x", "build": "y", "z": 1}, "ear_verifier_id"),
    "no submods": setting({}, "submods"),
    "submods as list": setting([], "submods"),
    "appraisal as text": setting("fine", *CPU),
    "status as integer": setting(2, *CPU, "ear_status"),
    "unknown status": setting("good", *CPU, "ear_status"),
    "vector empty": setting({}, *CPU, "ear_trustworthiness_vector"),
    "vector missing": setting(None, *CPU, "ear_trustworthiness_vector"),
    "unknown aspect": setting({"software": 2}, *CPU, "ear_trustworthiness_vector"),
    "aspect with underscore": setting({"runtime_opaque": 2}, *CPU, "ear_trustworthiness_vector"),
    "aspect as text": setting({"hardware": "2"}, *CPU, "ear_trustworthiness_vector"),
    "aspect true": setting({"hardware": True}, *CPU, "ear_trustworthiness_vector"),
    "aspect too large": setting({"hardware": 128}, *CPU, "ear_trustworthiness_vector"),
    "status flatters": setting({"hardware": 96}, *CPU, "ear_trustworthiness_vector"),
    "policy as text": setting("p", *CPU, "ear_appraisal_policy_ids"),
    "policy list empty": setting([], *CPU, "ear_appraisal_policy_ids"),
    "policy of another type": setting([1], *CPU, "ear_appraisal_policy_ids"),
    "empty attester claims": setting({}, *CPU, "ear_attester_claims"),
    "digest upper case": setting("AA", *CPU, "ear_attester_claims", "sottovoce_model"),
    "digest as integer": setting(1, *CPU, "ear_attester_claims", "sottovoce_model"),
    "unknown attester claim": setting("x", *CPU, "ear_attester_claims", "sottovoce_more"),
    "unknown root": setting("acme", *CPU, "ear_verifier_claims", "sottovoce_vendor_root"),
    "simulated but affirming": setting("simulated", *CPU, "ear_verifier_claims", "sottovoce_vendor_root"),
    "verified as integer": setting(1, *CPU, "ear_verifier_claims", "sottovoce_verified"),
    "checks as text": setting("x", *CPU, "ear_verifier_claims", "sottovoce_checks"),
    "check with a fourth part": setting(
        [["S3", "report signature", "pass", 1]], *CPU, "ear_verifier_claims", "sottovoce_checks"
    ),
    "check of unknown outcome": setting(
        [["S3", "report signature", "maybe"]], *CPU, "ear_verifier_claims", "sottovoce_checks"
    ),
    "too many checks": setting(
        list[Value]([["", "", "pass"]]) * 257, *CPU, "ear_verifier_claims", "sottovoce_checks"
    ),
    "nonce short": setting(base64url(bytes(7)), "eat_nonce"),
    "nonce padded": setting("AAAAAAAAAAA=", "eat_nonce"),
    "nonce as integer": setting(12345678, "eat_nonce"),
    "raw evidence as text": setting("AAAA", "ear_raw_evidence"),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_claims_of_another_form_are_refused(spoil: Callable[[Tree], None]) -> None:
    tree = claims.encode(result(), JSON)
    assert claims.decode(tree, JSON) == result()
    spoil(tree)
    with pytest.raises(ResultError):
        claims.decode(tree, JSON)


def test_claims_of_one_form_are_refused_as_the_other() -> None:
    with pytest.raises(ResultError):
        claims.decode(claims.encode(result(), JSON), CBOR)
    with pytest.raises(ResultError):
        claims.decode(claims.encode(result(), CBOR), JSON)


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_claims_are_a_map(value: Value) -> None:
    with pytest.raises(ResultError, match="map"):
        claims.decode(value, JSON)


def test_labels_in_cbor_are_text() -> None:
    tree = claims.encode(result(), CBOR)
    branch(tree, 266)[1] = branch(tree, 266).pop("cpu")
    with pytest.raises(ResultError, match="label"):
        claims.decode(tree, CBOR)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_token_of_another_key_is_refused(key: SigningKey) -> None:
    others = [ec.derive_private_key(2, ec.SECP256R1()), *(each for each in KEYS.values() if each is not key)]
    for other in others:
        with pytest.raises(ResultError):
            jwt.decode_jwt(jwt.encode_jwt(result(), key), other.public_key())
        with pytest.raises(ResultError):
            cwt.decode_cwt(cwt.encode_cwt(result(), key), other.public_key())


def test_keys_on_other_curves_are_refused() -> None:
    other = ec.derive_private_key(2, ec.SECP384R1())
    with pytest.raises(ResultError, match="P-256"):
        jwt.encode_jwt(result(), other)
    with pytest.raises(ResultError, match="P-256"):
        sign(other, b"")
    with pytest.raises(ResultError, match="P-256"):
        cwt.decode_cwt(cwt.encode_cwt(result(), P256), other.public_key())


def test_a_signature_of_another_size_is_refused() -> None:
    content, _, _ = jwt.encode_jwt(result(), P256).rpartition(".")
    for wrong in (base64url(bytes(size)) for size in (0, 63, 65)):
        with pytest.raises(ResultError, match="64 bytes"):
            jwt.decode_jwt(f"{content}.{wrong}", P256.public_key())


def test_digests_in_cbor_are_octets() -> None:
    tree = claims.encode(result(), CBOR)
    attester(tree, 266, 1005)["sottovoce_model"] = "07" * 32
    with pytest.raises(ResultError, match="octets"):
        claims.decode(tree, CBOR)


def test_an_unsigned_token_is_never_read_as_a_signed_one() -> None:
    token = jwt.encode_unsecured_jwt(result())
    for key in KEYS.values():
        for appended in ("", base64url(bytes(64))):
            with pytest.raises(ResultError):
                jwt.decode_jwt(token + appended, key.public_key())


def test_a_signed_token_is_never_read_as_an_unsigned_one() -> None:
    token = jwt.encode_jwt(result(), P256)
    with pytest.raises(ResultError, match="no signature"):
        jwt.decode_unsecured_jwt(token)
    with pytest.raises(ResultError, match="algorithm none"):
        jwt.decode_unsecured_jwt(token.rpartition(".")[0] + ".")


def signed_jwt(header: Value, payload: Value) -> str:
    content = f"{base64url(encode_json(header))}.{base64url(encode_json(payload))}"
    return f"{content}.{base64url(sign(P256, content.encode('ascii')))}"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "eat+jwt"},
        {"alg": "HS256", "typ": "eat+jwt"},
        {"alg": "EdDSA", "typ": "eat+jwt"},
        {"alg": "ES256"},
        {"alg": "ES256", "typ": "JWT"},
        {"alg": "ES256", "typ": "eat+jwt", "kid": "1"},
        {"alg": "ES256", "typ": "eat+jwt", "jwk": {}},
        {"alg": "ES256", "typ": "eat+jwt", "crit": ["b64"]},
        [],
        None,
    ],
)
def test_a_jwt_of_another_header_is_refused(header: Value) -> None:
    payload = claims.encode(result(), JSON)
    assert (
        jwt.decode_jwt(signed_jwt({"alg": "ES256", "typ": "eat+jwt"}, payload), P256.public_key()) == result()
    )
    with pytest.raises(ResultError):
        jwt.decode_jwt(signed_jwt(header, payload), P256.public_key())


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", "e30.e30.", "é.é.é", "e30=.e30=.e30=", "e30.e30.e30.e30"]
)
def test_what_is_no_jwt_is_refused(token: str) -> None:
    with pytest.raises(ResultError):
        jwt.decode_jwt(token, P256.public_key())
    with pytest.raises(ResultError):
        jwt.decode_unsecured_jwt(token)


def test_names_that_occur_twice_are_refused() -> None:
    payload = encode_json(claims.encode(result(), JSON))
    double = payload[:-1] + b',"iat":5}'
    header = base64url(encode_json({"alg": "none", "typ": "eat+jwt"}))
    with pytest.raises(ResultError, match="twice"):
        jwt.decode_unsecured_jwt(f"{header}.{base64url(double)}.")


def signed_cwt(protected: bytes, payload: bytes, *, unprotected: Value = None) -> bytes:
    signed = encode_cbor(["Signature1", protected, b"", payload])
    return b"\xd2" + encode_cbor([protected, unprotected or {}, payload, sign(P256, signed)])


@pytest.mark.parametrize(
    "header", [{}, {1: -8}, {1: -35}, {1: -7, 3: "x"}, {1: "ES256"}, {-1: -7}, {1: -7, 4: b"kid"}, []]
)
def test_a_cwt_of_another_header_is_refused(header: Value) -> None:
    payload = cwt.encode_claims(result())
    assert cwt.decode_cwt(signed_cwt(encode_cbor({1: -7}), payload), P256.public_key()) == result()
    with pytest.raises(ResultError):
        cwt.decode_cwt(signed_cwt(encode_cbor(header), payload), P256.public_key())


def test_a_cwt_with_unprotected_headers_is_refused() -> None:
    token = signed_cwt(encode_cbor({1: -7}), cwt.encode_claims(result()), unprotected={4: b"kid"})
    with pytest.raises(ResultError, match="no others"):
        cwt.decode_cwt(token, P256.public_key())


def test_a_cwt_is_cose_as_another_library_reads_it() -> None:
    token = cwt.encode_cwt(result(), P256)
    sign1 = cbor2.loads(token)
    assert isinstance(sign1, cbor2.CBORTag)
    assert sign1.tag == 18
    protected, unprotected, payload, signature = sign1.value
    assert cbor2.loads(protected) == {1: -7}
    assert unprotected == {}
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    der = cbor2_signature(signature)
    P256.public_key().verify(der, message, ec.ECDSA(hashes.SHA256()))


def cbor2_signature(raw: bytes) -> bytes:
    """DER of r and s, by hand."""
    numbers = b""
    for half in (raw[:32], raw[32:]):
        number = half.lstrip(b"\0")
        number = b"\0" + number if number[0] & 0x80 else number
        numbers += bytes([2, len(number)]) + number
    return bytes([0x30, len(numbers)]) + numbers


TOKEN_CWT = cwt.encode_cwt(result(), P256)


@pytest.mark.parametrize(
    "token",
    [
        TOKEN_CWT[1:],
        b"\xd8\x3d" + TOKEN_CWT,
        TOKEN_CWT + b"\0",
        TOKEN_CWT[:-1],
        b"\xd2\x80",
        b"",
        b"\xd2",
        b"\xd2\x9f" + TOKEN_CWT[2:] + b"\xff",
    ],
    ids=range(8),
)
def test_what_is_no_cwt_is_refused(token: bytes) -> None:
    assert cwt.decode_cwt(TOKEN_CWT, P256.public_key()) == result()
    with pytest.raises(ResultError):
        cwt.decode_cwt(token, P256.public_key())


SIGNED = cwt.encode_cwt(result(), ED25519)


@given(st.integers(0, len(SIGNED) * 8 - 1))
@settings(max_examples=60, deadline=None)
def test_every_flipped_bit_of_a_cwt_is_refused(bit: int) -> None:
    token = bytearray(SIGNED)
    token[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ResultError):
        cwt.decode_cwt(bytes(token), ED25519.public_key())


TOKEN = jwt.encode_jwt(result(), ED25519)


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("AZaz09-_.=~é "))
@settings(max_examples=60, deadline=None)
def test_every_other_character_in_a_jwt_is_refused(position: int, character: str) -> None:
    token = TOKEN[:position] + character + TOKEN[position + 1 :]
    if token != TOKEN:
        with pytest.raises(ResultError):
            jwt.decode_jwt(token, ED25519.public_key())


@given(
    nonce=st.none() | st.binary(min_size=8, max_size=64),
    content=st.none() | st.binary(max_size=64),
    indicator=st.none() | st.integers(1, 15),
)
@settings(max_examples=40, deadline=None)
def test_results_survive_both_forms(
    nonce: bytes | None, content: bytes | None, indicator: int | None
) -> None:
    said = None if indicator is None else cmw.Indicator(indicator)
    record = None if content is None else cmw.Record("application/x", content, said)
    each: AttestationResult = result(nonce=nonce, raw_evidence=record)
    assert claims.decode(decode_json(encode_json(claims.encode(each, JSON))), JSON) == each
    assert cwt.decode_claims(cwt.encode_claims(each)) == each


def test_the_payload_of_a_jwt_is_plain_json() -> None:
    payload = jwt.encode_unsecured_jwt(result()).split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert decoded["submods"]["cpu"]["ear_verifier_claims"]["sottovoce_vendor_root"] == "amd"
