# SPDX-License-Identifier: Apache-2.0
"""Google's facts: checked where they are given, and never passed where they are not."""

from dataclasses import replace
from hashlib import sha384

import pytest

from attestation.azure.gce import GoogleFacts, HostRecord, Instance, InstanceError, appraise_google
from attestation.verdict import Decision
from tests.fakes.azure import failures, not_made

INSTANCE = Instance(12345, "europe-west4-a", 67890)
PPID = bytes(range(16))
RECORD = b'{"zone":"europe-west4-a","timestamp":"2026-06-11T00:00:00Z"}'
GOOD = GoogleFacts(INSTANCE.owner(), PPID, INSTANCE, HostRecord(PPID, RECORD))


def test_owner_is_the_digest_of_the_one_form() -> None:
    pzid = b'{"instanceId":67890,"numericalProjectId":12345,"zone":"europe-west4-a"}'
    assert INSTANCE.owner() == sha384(pzid).digest()


def test_good_facts_pass() -> None:
    assert failures(appraise_google(GOOD)) == set()


def test_what_was_not_given_is_not_evaluated() -> None:
    checks = appraise_google(replace(GOOD, instance=None, record=None))
    assert failures(checks) == not_made(checks) == {"google instance", "google host record"}


@pytest.mark.parametrize("mrowner", [bytes(48), b""])
def test_another_instance_fails(mrowner: bytes) -> None:
    assert failures(appraise_google(replace(GOOD, mrowner=mrowner))) == {"google instance"}


@pytest.mark.parametrize(
    "record",
    [
        HostRecord(bytes(16), RECORD),
        HostRecord(PPID, b""),
        HostRecord(PPID, b"\xff"),
        HostRecord(PPID, b"[" * 16_000),
        HostRecord(PPID, b"<Error><Code>NoSuchKey</Code></Error>"),
        HostRecord(PPID, b"[]"),
        HostRecord(PPID, b"{}"),
        HostRecord(PPID, b'{"zone":"","timestamp":1}'),
        HostRecord(PPID, b'{"zone":7,"timestamp":1}'),
        HostRecord(PPID, b'{"zone":"a\\nb","timestamp":1}'),
        HostRecord(PPID, b'{"zone":"a","timestamp":true}'),
        HostRecord(PPID, b'{"zone":"a","timestamp":""}'),
        HostRecord(PPID, b'{"zone":"a"}'),
        HostRecord(PPID, RECORD + b" " * 17_000),
    ],
)
def test_record_of_another_form_or_host_fails(record: HostRecord) -> None:
    assert failures(appraise_google(replace(GOOD, record=record))) == {"google host record"}


def test_record_has_a_greatest_size() -> None:
    for size, names in ((16 * 1024, set[str]()), (16 * 1024 + 1, {"google host record"})):
        record = HostRecord(PPID, RECORD.ljust(size))
        assert failures(appraise_google(replace(GOOD, record=record))) == names


def test_failures_are_about_the_platform() -> None:
    assert {check.decision for check in appraise_google(GOOD)} == {Decision.WRONG_PLATFORM}


@pytest.mark.parametrize("ppid", [b"", PPID[:-1], PPID + b"\0"])
def test_unknown_processor_has_no_record(ppid: bytes) -> None:
    nobody = replace(GOOD, ppid=ppid, record=HostRecord(ppid, RECORD))
    assert failures(appraise_google(nobody)) == {"google host record"}


@pytest.mark.parametrize("number", [1, 2**64 - 1])
def test_numbers_have_64_bits(number: int) -> None:
    assert Instance(number, "a", number).owner() != INSTANCE.owner()


@pytest.mark.parametrize(
    ("project", "zone", "instance"),
    [(0, "a", 1), (1, "a", 2**64), (1, "", 1), (1, 'a","x":"', 1), (1, "A", 1), (1, "a-", 1), (1, "a\n", 1)],
)
def test_instance_with_another_form_is_refused(project: int, zone: str, instance: int) -> None:
    with pytest.raises(InstanceError):
        Instance(project, zone, instance)
