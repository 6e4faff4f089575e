# SPDX-License-Identifier: Apache-2.0
"""An enclave with a simulated TEE and a host, as two separate programs on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from models.fetch import fetch
from models.library import find_known, manifest_folder
from models.manifest import catalogue

PYTHON = (sys.executable, "-P", "-m")
DEFAULT_MODEL = "smollm2-135m-instruct"
OK = 200
START_SECONDS = 90.0
STOP_SECONDS = 15.0


class StartError(Exception):
    """A program did not start; the message says which, and what it printed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pair of enclave and host lives, what it serves, and where the simulated vendor has its root."""

    folder: Path
    vendor: Path
    port: int
    audience: str
    model: str = DEFAULT_MODEL

    @property
    def url(self) -> str:
        """Where the host listens."""
        return f"http://localhost:{self.port}"

    @property
    def enclave_socket(self) -> Path:
        """The enclave's end of the link."""
        return self.folder / "enclave.sock"

    @property
    def policy(self) -> Path:
        """The policy that accepts the simulated vendor and the code of this checkout."""
        return self.folder / "policy.toml"

    @property
    def enclave_log(self) -> Path:
        """What the enclave prints: events alone."""
        return self.folder / "enclave.log"

    @property
    def host_folder(self) -> Path:
        """The host's working folder, with everything it ever writes."""
        return self.folder / "host"

    @property
    def host_log(self) -> Path:
        """What the host prints."""
        return self.host_folder / "host.log"


def vendor_folder() -> Path:
    """Where this user's simulated vendor keeps its root key."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "sottovoce" / "simulated"


def free_port() -> int:
    """A port of the loopback address that nobody listens on, and that the kernel gives to nobody else soon.

    A connection that ended at it keeps it from being chosen for others for a minute. Who names it may listen.
    """
    with socket.socket() as listening, socket.socket() as connecting:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        connecting.connect(listening.getsockname())
        listening.accept()[0].close()  # the end that closes first is the one that is remembered
        return int(listening.getsockname()[1])


def write_policy(place: Place) -> None:
    """Have the simulated vendor say what to accept: its root, this machine, and the code of this checkout."""
    command = [*PYTHON, "attestation.simulated", "policy", "--folder", str(place.vendor)]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE
    )  # it says on the screen what takes long
    if done.returncode:
        raise StartError("the simulated vendor gave no policy")
    place.policy.write_bytes(done.stdout)


def enclave_config(
    place: Place, weights: Path, *, link: str = "", settings: str = "", extra: str = "", tee: str = ""
) -> str:
    """The configuration of an enclave, simulated unless `tee` has the lines of another.

    `settings` are more settings before its tables, `extra` more tables.
    """
    own = f'manifest = "{manifest_folder() / place.model}.toml"'
    model = f'name = "{place.model}"' if place.model in catalogue() else own
    simulated = f'kind = "simulated-sev-snp"\nfolder = "{place.vendor}"'
    return f"""\
{settings}production = false
link = "{link or f"unix:{place.enclave_socket}"}"
audience = "{place.audience}"
deployment = "local"

[tee]
{tee or simulated}

[model]
{model}
weights = "{weights}"

{extra}"""


def prepare_enclave(place: Place, config: str, program: tuple[str, ...] = ("enclave",)) -> list[str]:
    """Write the policy and the configuration of an enclave, and give the command that runs it."""
    write_policy(place)
    file = place.folder / "enclave.toml"
    file.write_text(config, encoding="utf-8")
    return [*PYTHON, *program, "--config", str(file)]


def prepare_host(place: Place, *, link: str = "", extra: str = "") -> list[str]:
    """Write the configuration of a host, and give the command that runs it."""
    place.host_folder.mkdir(exist_ok=True)
    file = place.host_folder / "host.toml"
    link = link or f"unix:{place.enclave_socket}"
    file.write_text(f'listen = "127.0.0.1:{place.port}"\nlink = "{link}"\n{extra}', encoding="utf-8")
    return [*PYTHON, "host", "--config", str(file)]


@contextmanager
def enclave(
    place: Place,
    *,
    link: str = "",
    settings: str = "",
    extra: str = "",
    tee: str = "",
    program: tuple[str, ...] = ("enclave",),
) -> Generator[subprocess.Popen[bytes]]:
    """A running enclave. `program` is the module that runs it, with its arguments. Raises StartError."""
    weights = fetch(find_known(place.model))
    text = enclave_config(place, weights, link=link, settings=settings, extra=extra, tee=tee)
    command = prepare_enclave(place, text, program)
    with running("the enclave", command, place.folder, place.enclave_log) as process:
        wait_until(
            lambda: "Started" in place.enclave_log.read_text(encoding="utf-8"), process, place.enclave_log
        )
        yield process


@contextmanager
def host(place: Place, *, link: str = "", extra: str = "") -> Generator[subprocess.Popen[bytes]]:
    """A running host in front of the enclave; `extra` is more of its configuration. Raises StartError."""
    command = prepare_host(place, link=link, extra=extra)
    with running("the host", command, place.host_folder, place.host_log) as process:
        wait_until(lambda: is_listening(place.port), process, place.host_log)
        yield process


@contextmanager
def running(name: str, command: list[str], folder: Path, log: Path) -> Generator[subprocess.Popen[bytes]]:
    """A program that is ended with the block, by its own process id."""
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            sys.stderr.write(f"{name} did not end by itself and was killed\n")


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a program is ready. Raises StartError when it ends first, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise StartError(
                log.read_text(encoding="utf-8").strip() or f"it ended with code {process.returncode}"
            )
        if time.monotonic() > deadline:
            raise StartError(f"it was not ready after {START_SECONDS:.0f} s; see {log}")
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    """Whether something accepts connections on this port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def is_healthy(place: Place) -> bool:
    """Whether the host says that the enclave can prove itself."""
    try:
        return httpx.get(f"{place.url}/healthz", timeout=5, trust_env=False).status_code == OK
    except httpx.HTTPError:
        return False
