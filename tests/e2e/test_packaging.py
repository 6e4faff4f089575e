# SPDX-License-Identifier: Apache-2.0
"""Each role in a fresh environment: what is installed, what cannot be imported, which commands run."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.llama.build import Step, library_wheel

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
REQUIREMENTS = ROOT / "requirements"
SERVERS_ALONE = {"jinja2", "llama_cpp", "msgspec", "numpy"}
INSTALLED = "from importlib.metadata import distributions; print(*{each.name for each in distributions()})"


@dataclass(frozen=True, slots=True)
class Environment:
    """A fresh virtual environment."""

    folder: Path

    def install(self, *arguments: str | Path) -> None:
        """Install with uv, whose cache makes it quick."""
        command = [BIN / "uv", "pip", "install", "--quiet", "--python", self.python, *arguments]
        subprocess.run(command, check=True, timeout=200)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def installed(self) -> set[str]:
        """The names of what is installed."""
        return set(map(canonicalize_name, self.run(self.python, "-I", "-c", INSTALLED).stdout.split()))

    def imports(self, module: str) -> bool:
        """Whether a module can be imported."""
        return self.run(self.python, "-I", "-c", f"import {module}").returncode == 0

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a program of it, away from the checkout."""
        environment = {"PATH": str(self.folder / "bin"), "HOME": str(self.folder)}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=self.folder
        )

    def works(self, *command: str) -> str:
        """What a program of it prints; it has to succeed."""
        done = self.run(self.folder / "bin" / command[0], *command[1:])
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", folder, ROOT], check=True, timeout=100)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A fresh environment with nothing in it."""
    made = Environment(tmp_path / "environment")
    subprocess.run(
        [BIN / "uv", "venv", "--quiet", "--python", sys.executable, made.folder], check=True, timeout=60
    )
    assert made.installed() == set()
    return made


def entries(*names: str) -> dict[str, str]:
    """What the locked files install on this machine: each requirement with its digests, by name."""
    texts = [(REQUIREMENTS / f"{name}.txt").read_text(encoding="ascii") for name in names]
    found = [entry for text in texts for entry in re.split(r"\n(?=\w)", text)]
    requirements = {entry: Requirement(entry.partition(" \\\n")[0]) for entry in found}
    return {
        each.name: entry
        for entry, each in requirements.items()
        if each.marker is None or each.marker.evaluate()
    }


def locked(*names: str) -> set[str]:
    """The names of what the locked files install on this machine."""
    return set(entries(*names))


def needed(extra: str) -> set[str]:
    """What the project needs with an extra, followed through the packages of this environment."""
    found: set[str] = set()
    waiting = [("sottovoce", frozenset({"", extra}))]
    while waiting:
        name, extras = waiting.pop()
        for line in metadata.requires(name) or []:
            each = Requirement(line)
            wanted = each.marker is None or any(each.marker.evaluate({"extra": one}) for one in extras)
            if wanted and canonicalize_name(each.name) not in found:
                found.add(canonicalize_name(each.name))
                waiting.append((each.name, frozenset({"", *each.extras})))
    return found


def install_with_extra(environment: Environment, wheel: Path, extra: str, *files: str) -> None:
    """Install what the project needs, as it is locked, then the project, for which nothing may be missing."""
    wanted, available = needed(extra), entries(*files)
    requirements = environment.folder / "requirements.txt"
    requirements.write_text("\n".join(available[name] for name in sorted(wanted)) + "\n", encoding="ascii")
    environment.install("--require-hashes", "-r", requirements)
    environment.install("--no-index", f"sottovoce[{extra}] @ {wheel.as_uri()}" if extra else wheel)
    assert environment.installed() == wanted | {"sottovoce"}


def check_client(environment: Environment) -> None:
    """The commands of a client."""
    assert environment.works("sottovoce", "--version").strip() == metadata.version("sottovoce")
    assert "verify" in environment.works("sottovoce", "--help")
    assert "smollm2" in environment.works("sottovoce-models", "list")
    for command in ("chat", "proxy", "attest", "simulate", "completion"):
        assert environment.works("sottovoce", command, "--help").startswith("usage:")
    for program in ("sottovoce", "sottovoce-models"):
        printed = environment.works("sottovoce", "completion", "bash", program)
        assert re.search(rf"^complete .* {program}$", printed, re.MULTILINE)


@pytest.mark.timeout(300)
def test_the_client_installs_what_it_needs_and_nothing_of_a_server(
    environment: Environment, wheel: Path
) -> None:
    install_with_extra(environment, wheel, "", "client")
    assert locked("client") == needed("")
    check_client(environment)
    assert environment.imports("cryptography")
    assert not any(environment.imports(module) for module in SERVERS_ALONE)


@pytest.mark.timeout(300)
def test_the_extra_of_the_host_adds_the_host_to_the_client(environment: Environment, wheel: Path) -> None:
    install_with_extra(environment, wheel, "host", "client", "host")
    check_client(environment)
    assert "--config" in environment.works("python", "-P", "-m", "host", "--help")
    assert not any(environment.imports(module) for module in SERVERS_ALONE)


@pytest.mark.timeout(300)
def test_the_extra_of_the_enclave_adds_all_but_the_library_and_says_so(
    environment: Environment, wheel: Path
) -> None:
    install_with_extra(environment, wheel, "enclave", "client", "enclave")
    check_client(environment)
    assert "--config" in environment.works("python", "-P", "-m", "enclave", "--help")
    assert {module for module in SERVERS_ALONE if not environment.imports(module)} == {"llama_cpp"}
    done = environment.run(environment.python, "-P", "-m", "enclave", "--config", "enclave.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the inference library is not installed; docs/install.md" in done.stderr


@pytest.mark.timeout(300)
def test_a_host_alone_has_no_cryptography(environment: Environment, wheel: Path) -> None:
    environment.install("--require-hashes", "-r", REQUIREMENTS / "host.txt")
    environment.install("--no-deps", "--no-index", wheel)
    assert environment.installed() == locked("host") | {"sottovoce"}
    assert locked("host") < locked("client")
    for module in ("cryptography", "cbor2", "rich", *SERVERS_ALONE):
        assert not environment.imports(module), module
    assert "--config" in environment.works("python", "-P", "-m", "host", "--help")
    assert environment.imports("host.gateway")
    done = environment.run(environment.python, "-P", "-m", "host", "--config", "missing.toml")
    assert done.returncode == 2
    assert done.stderr.startswith("the host does not start: missing.toml")


@pytest.mark.timeout(300)
def test_an_enclave_alone_has_no_http_client_and_loads_its_library(
    environment: Environment, wheel: Path
) -> None:
    environment.install("--require-hashes", "-r", REQUIREMENTS / "enclave.txt")
    library = library_wheel(Path(sys.executable), REQUIREMENTS / "llama.txt", Step(total=1))
    environment.install("--no-deps", "--no-index", wheel, library)
    assert environment.installed() == locked("enclave", "llama") | {"sottovoce"}
    for module in ("httpx", "rich", "uvicorn", "starlette", "cbor2", "anyio", "shtab"):
        assert not environment.imports(module), module
    assert "--config" in environment.works("python", "-P", "-m", "enclave", "--help")
    parts: Callable[[str], bool] = environment.imports
    assert all(map(parts, ("enclave.serve", "enclave.reporter", "enclave.engine.__main__")))
    done = environment.run(environment.python, "-P", "-m", "enclave", "--config", "missing.toml")
    assert done.returncode == 2
    assert "missing.toml" in done.stderr
