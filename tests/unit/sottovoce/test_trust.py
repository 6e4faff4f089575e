# SPDX-License-Identifier: Apache-2.0
"""Which policy applies, and the verdict as JSON."""

import json
from pathlib import Path

import pytest

from attestation.evidence import decode_claims
from attestation.policy import default_policy, render_policy
from attestation.verify import appraise
from models.manifest import find_manifest
from sottovoce.trust import (
    NoPolicyError,
    choose_policy,
    judgement_json,
    model_name,
    origin,
    simulated_policy_path,
)
from tests.fakes import hardware

URL = "https://llm.example"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://LLM.example/path/x", "https://llm.example"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("HTTP://[::1]:80/", "http://[::1]:80"),
    ],
)
def test_the_origin_of_a_url_is_scheme_host_and_port(url: str, expected: str) -> None:
    assert origin(url) == expected


def test_without_a_file_the_default_policy_applies_to_the_origin() -> None:
    policy = choose_policy(f"{URL}/x", file=None, simulated=False)
    assert policy.audiences == {URL}
    assert policy.measurements == default_policy().measurements == frozenset()


def test_a_file_says_what_to_accept(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(render_policy(hardware.policy()), encoding="utf-8")
    policy = choose_policy("https://other.example", file=path, simulated=False)
    assert policy.measurements == {hardware.MEASUREMENT}
    assert policy.audiences == {hardware.ORIGIN, "https://other.example"}


def test_a_simulated_enclave_is_accepted_by_the_policy_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = simulated_policy_path()
    assert path.is_relative_to(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(render_policy(hardware.policy()), encoding="utf-8")
    assert choose_policy(URL, file=None, simulated=True).simulated_roots == hardware.policy().simulated_roots


def test_a_file_goes_before_the_policy_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    path = tmp_path / "policy.toml"
    path.write_text(render_policy(hardware.policy()), encoding="utf-8")
    assert choose_policy(URL, file=path, simulated=True).models == frozenset({hardware.MODEL})


def test_a_machine_without_a_simulated_vendor_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(NoPolicyError, match="make run makes one"):
        choose_policy(URL, file=None, simulated=True)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"version = 2\n", b"not toml"])
def test_a_file_that_is_no_policy_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NoPolicyError, match=r"policy\.toml: "):
        choose_policy(URL, file=path, simulated=False)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://llm.example", "http://", "https://user@llm.example"]
)
def test_an_address_without_an_origin_is_refused(url: str) -> None:
    with pytest.raises(NoPolicyError, match="expected an origin such as"):
        choose_policy(url, file=None, simulated=False)


def test_models_of_the_catalogue_have_names() -> None:
    manifest = find_manifest("smollm2-135m-instruct")
    assert model_name(manifest.digest) == manifest.name
    assert model_name(bytes(32)) == "unknown to this client"


def test_the_verdict_of_good_evidence_as_json() -> None:
    verdict = appraise(hardware.evidence(), hardware.policy(), hardware.NOW)
    document = json.loads(judgement_json(verdict))
    assert document["verified"] is True
    assert document["simulated"] is True
    assert document["vendor_root"] == "simulated"
    assert document["measurement"] == hardware.MEASUREMENT.hex()
    assert document["model"] == hardware.MODEL.hex()
    assert document["audience"] == hardware.ORIGIN
    assert document["expires_at"] == hardware.CLAIMS.expires_at
    assert [check["ok"] for check in document["checks"]] == [True] * len(verdict.checks)
    assert all(set(check) == {"name", "id", "outcome", "ok", "detail", "why"} for check in document["checks"])


def test_the_verdict_of_expired_evidence_as_json() -> None:
    evidence = hardware.evidence()
    late = decode_claims(evidence.claims).expires_at + 3600
    document = json.loads(judgement_json(appraise(evidence, hardware.policy(), late)))
    assert document["verified"] is False
    failed = [check for check in document["checks"] if not check["ok"]]
    assert failed
    assert all(check["detail"].startswith("expected ") for check in failed)
