# SPDX-License-Identifier: Apache-2.0
"""A real enclave and a real host, as separate programs, with a wiretap on either side of the host."""

import fcntl
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from attestation.policy import Policy
from deploy.local import Place, enclave, free_port, host
from deploy.wiretap import Place as Tapped
from deploy.wiretap import Recording, wiretap
from sottovoce.transport import Connection
from sottovoce.trust import choose_policy

WAIT_SECONDS = 30.0
# An enclave locks the memory of all its slots when it starts. Where two conversations at once are enough, it
# starts sooner with two.
FEW_SLOTS = "[engine]\nslots = 2\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """A running enclave and the host in front of it. `url` leads through the outer wiretap."""

    place: Place
    enclave: "Popen[bytes]"
    host: "Popen[bytes]"
    outside: Recording
    inside: Recording

    @property
    def url(self) -> str:
        """Where clients reach the host."""
        return self.place.audience

    @property
    def policy(self) -> Policy:
        """What accepts this enclave."""
        return choose_policy(self.url, file=self.place.policy, simulated=True)

    def connect(self) -> Connection:
        """A client."""
        return Connection(self.url, self.policy)

    def process(self, module: str) -> int:
        """The process id of a part of the enclave, by its module."""
        children = Path(f"/proc/{self.enclave.pid}/task/{self.enclave.pid}/children").read_text(
            encoding="ascii"
        )
        found = [int(child) for child in children.split() if module in arguments(int(child))]
        return found[0]

    def events(self) -> str:
        """What the enclave logged so far."""
        return self.place.enclave_log.read_text(encoding="utf-8")


def arguments(process_id: int) -> list[str]:
    """The command line of a process; empty for one that has ended."""
    try:
        return Path(f"/proc/{process_id}/cmdline").read_text(encoding="utf-8").split("\0")
    except FileNotFoundError:
        return []


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most half a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


@contextmanager
def running_pair(
    folder: Path, vendor: Path, *, extra: str = "", settings: str = "", host_settings: str = ""
) -> Generator[Pair]:
    """Start a pair in this folder, with more tables and settings than it has by default."""
    link = folder / "tapped.sock"
    tapped_port = free_port()
    place = Place(folder, vendor, free_port(), f"http://localhost:{tapped_port}")
    with (
        enclave(place, settings=settings, extra=extra) as enclave_process,
        host(place, link=f"unix:{link}", extra=host_settings) as host_process,
        wiretap(Tapped(port=tapped_port), Tapped(port=place.port)) as outside,
        wiretap(Tapped(path=link), Tapped(path=place.enclave_socket)) as inside,
    ):
        yield Pair(place, enclave_process, host_process, outside, inside)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that measures time while no other worker runs any; the wait is not the test's time."""
    alone = item.get_closest_marker("alone") is not None
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What programs of a test remember is not what this user's programs remember."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data")
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def vendor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulated vendor of this test run keeps its root."""
    return tmp_path_factory.mktemp("vendor") / "simulated"


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory, vendor_folder: Path) -> Iterator[Pair]:
    """One pair for all tests that leave it running."""
    with running_pair(tmp_path_factory.mktemp("pair"), vendor_folder) as running:
        yield running


@pytest.fixture
def own_pair(tmp_path: Path, vendor_folder: Path) -> Iterator[Pair]:
    """A pair for one test that breaks it."""
    with running_pair(tmp_path, vendor_folder, extra=FEW_SLOTS) as running:
        yield running
