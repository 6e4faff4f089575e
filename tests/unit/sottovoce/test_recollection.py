# SPDX-License-Identifier: Apache-2.0
"""A connection and its memory: when it looks, what it tells whom, and what it does not send."""

from dataclasses import replace
from pathlib import Path

import pytest

from attestation.verify import VerifiedEnclave, verify
from sottovoce.failures import explain, failure_of
from sottovoce.memory import Kind, Notice, PinnedError, ReleaseWarning, pin
from sottovoce.memory_file import Memory, MemoryFileError, default_path
from sottovoce.recollection import MOST_NOTICES, ProcessMemory, Recollection, Remembers
from sottovoce.transport import Connection, Surroundings
from tests.fakes import hardware
from tests.fakes.relay import Enclave, Host, guest
from wire.session import MAX_TTL_SECONDS

MACHINE = guest()


class Told:
    """A person who listens."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Kind]] = []

    def __call__(self, address: str, notice: Notice) -> None:
        """Listen."""
        self.said.append((address, notice.kind))


@pytest.fixture
def host() -> Host:
    """An honest host in front of a new enclave."""
    return Host(Enclave(MACHINE))


def show_release(enclave: Enclave, number: int) -> None:
    """The same enclave under another release manifest, which the policy accepts too."""
    enclave.claims = replace(enclave.claims, release=bytes([number]) * 32)
    enclave.evidence = hardware.evidence(enclave.guest, keys=enclave.epoch.key_list, claims=enclave.claims)


def connect(host: Host, surroundings: Surroundings) -> Connection:
    """A client whose only network is this host."""
    return Connection(hardware.ORIGIN, hardware.policy(), surroundings=replace(surroundings, network=host))


def test_a_new_address_is_told_once_and_is_no_warning(host: Host) -> None:
    told, memory = Told(), ProcessMemory()
    for _ in range(2):
        with connect(host, Surroundings(memory=memory, tell=told)) as connection:
            connection.open()
    assert told.said == [(hardware.ORIGIN, Kind.FIRST)]
    with connect(host, Surroundings()) as connection:  # warnings are exceptions in this test run
        connection.open()
        assert [notice.is_warning for notice in connection.notices] == [False]


def test_a_pin_is_looked_at_before_anything_is_sent(host: Host, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "trust.json")
    with connect(host, Surroundings(memory=memory)) as connection:
        connection.open()
    memory.change(hardware.ORIGIN, lambda known: pin(known, hardware.MEASUREMENT.hex()[:8]))
    sent = len(host.posts)
    show_release(host.enclave, 1)
    with connect(host, Surroundings(memory=memory)) as connection:
        for _ in range(2):
            with pytest.raises(PinnedError) as refused:
                connection.models()
            assert failure_of(refused.value).code == "release_not_pinned"
            assert "nothing was sent" in explain(refused.value)
        assert len(host.posts) == sent
        with pytest.raises(PinnedError):
            connection.verify()
        memory.forget(hardware.ORIGIN)
        connection.verify()
        connection.open()


def test_a_later_session_is_looked_at_too(host: Host) -> None:
    told, now = Told(), [0.0]
    with connect(host, Surroundings(clock=lambda: now[0], tell=told)) as connection:
        connection.open()
        show_release(host.enclave, 1)
        now[0] += MAX_TTL_SECONDS
        connection.open()
        assert told.said == [(hardware.ORIGIN, Kind.FIRST), (hardware.ORIGIN, Kind.CHANGED)]
        assert [notice.kind for notice in connection.notices] == [Kind.FIRST, Kind.CHANGED]
        assert "release" in connection.notices[1].sentence


def test_evidence_of_one_session_that_shows_another_release_is_told(host: Host) -> None:
    """The public document is one release, and what the session brings is another."""
    told = Told()
    public = host.enclave.get()
    host.document = lambda: public
    show_release(host.enclave, 1)
    with connect(host, Surroundings(tell=told)) as connection:
        connection.open()
    assert told.said == [(hardware.ORIGIN, Kind.FIRST), (hardware.ORIGIN, Kind.CHANGED)]


def test_a_program_is_warned_as_python_warns(host: Host) -> None:
    with connect(host, Surroundings()) as connection:
        connection.verify()
        show_release(host.enclave, 1)
        with pytest.warns(ReleaseWarning, match=r"^https://llm\.example: changed: ") as caught:
            connection.verify()
    warning = caught[0].message
    assert isinstance(warning, ReleaseWarning)
    assert (warning.address, warning.notice) == (hardware.ORIGIN, connection.notices[-1])


def test_a_warning_made_an_exception_ends_the_connection(host: Host) -> None:
    now = [0.0]
    with connect(host, Surroundings(clock=lambda: now[0])) as connection:
        connection.open()
        show_release(host.enclave, 1)
        now[0] += MAX_TTL_SECONDS
        for _ in range(2):
            with pytest.raises(ReleaseWarning) as refused:
                next(connection.stream("GET", "/v1/models", b""))
            assert failure_of(refused.value).code == "release_changed"
        assert host.enclave.calls == []


def test_a_memory_that_cannot_be_read_keeps_everything_here(host: Host, tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_bytes(b"spoiled")
    with connect(host, Surroundings(memory=Memory(tmp_path / "trust.json"))) as connection:
        with pytest.raises(MemoryFileError) as failed:
            connection.models()
        assert failure_of(failed.value).code == "memory_unreadable"
        assert host.posts == []
        (tmp_path / "trust.json").unlink()
        connection.open()


def nobody(number: int) -> None:
    """The users that there are."""
    raise KeyError(number)


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(MemoryFileError, match="no home folder"):
        default_path()


def test_a_host_that_shows_something_else_each_time_fills_no_memory() -> None:
    class Alternating:
        def meet(self, address: str, enclave: VerifiedEnclave, now: int) -> tuple[Notice, ...]:
            return (Notice(Kind.SINGLED_OUT, f"{address} {enclave.claims.epoch} {now}"),)

    alternating: Remembers = Alternating()
    recollection = Recollection(hardware.ORIGIN, alternating, Told())
    enclave = verify(hardware.evidence(), hardware.policy(), hardware.NOW)
    for _ in range(MOST_NOTICES + 10):
        recollection.look(enclave)
    assert len(recollection.notices) == MOST_NOTICES
