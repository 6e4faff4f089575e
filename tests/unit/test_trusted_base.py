# SPDX-License-Identifier: Apache-2.0
"""The trusted base is what the enclave imports and installs: growing it must be deliberate."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUR_PACKAGES = ("attestation", "enclave", "host", "models", "sottovoce", "wire")

SESSION = {"_cffi_backend", "_openssl", "cryptography", "msgspec", "typing_extensions"}
ENGINE = SESSION | {"diskcache", "jinja2", "llama_cpp", "markupsafe", "numpy"}
SUPERVISOR = {"msgspec", "typing_extensions"}
CLOSURES = {
    "enclave.__main__": SUPERVISOR | {"enclave", "models"},
    "enclave.serve": SESSION | {"attestation", "enclave", "models", "wire"},
    "enclave.reporter": SESSION | {"attestation", "enclave", "models", "wire"},
    "enclave.engine.__main__": ENGINE | {"enclave"},
}

# An alias that the interpreter makes of the main module, and no package.
PROGRAM = """
import sys, {module}
names = {{name.partition(".")[0] for name in sys.modules}} - {{"__main__", "__mp_main__"}}
print(*sorted(names - set(sys.stdlib_module_names)))
"""
REQUIREMENT = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==[0-9][0-9a-z.+!]*( ; [^@]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def closure(module: str) -> set[str]:
    """The packages outside the standard library that a fresh interpreter loads with a module."""
    command = [sys.executable, "-I", "-c", PROGRAM.format(module=module)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    return set(done.stdout.split())


def site_packages() -> set[str]:
    """What the interpreter loads by itself, such as the finder of an editable install."""
    return closure("sys")


def locked(name: str) -> list[list[str]]:
    """The requirements of a locked file, each with its hashes behind it."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="ascii").replace("\\\n", "\x1f")
    return [[part.strip() for part in line.split("\x1f")] for line in text.splitlines()]


def names(name: str) -> set[str]:
    return {re.split(r"[\[=]", requirement[0])[0] for requirement in locked(name)}


@pytest.mark.parametrize("module", CLOSURES)
def test_the_enclave_loads_exactly_what_is_trusted(module: str) -> None:
    assert closure(module) - site_packages() == CLOSURES[module]


def test_the_client_loads_nothing_of_enclave_or_host() -> None:
    loaded = closure("sottovoce.__main__")
    assert "sottovoce" in loaded
    assert loaded.isdisjoint({"llama_cpp", "enclave", "host", "starlette", "uvicorn", "jinja2", "msgspec"})


def test_the_enclave_installs_what_its_extra_names_and_cryptography_and_the_library() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extra: dict[str, list[str]] = document["project"]["optional-dependencies"]
    groups: dict[str, list[str]] = document["dependency-groups"]
    (library,) = locked("llama")
    ours = ["cryptography>=50", library[0]]
    assert sorted(groups["enclave"]) == sorted([*ours, *extra["enclave"]])
    assert sorted(groups["host"]) == sorted(extra["host"])


def test_every_locked_package_of_the_enclave_is_explained() -> None:
    text = (ROOT / "docs" / "trusted-base.md").read_text(encoding="utf-8")
    explained = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert names("enclave")
    assert (names("enclave") | names("llama")) - explained == set()


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_every_locked_requirement_has_a_version_and_hashes_and_no_address(path: Path) -> None:
    requirements = locked(path.stem)
    assert requirements
    for requirement, *hashes in requirements:
        assert REQUIREMENT.fullmatch(requirement), requirement
        assert hashes, requirement
        assert all(HASH.fullmatch(each) for each in hashes), requirement
    text = path.read_text(encoding="ascii")
    assert "://" not in text
    assert " @ " not in text


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of our packages, to plant a mistake in."""
    for package in OUR_PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(copy: Path) -> tuple[int, str]:
    """Check the contracts of a copy; the exit code, and what was printed without line breaks."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(copy), "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def plant(path: Path, line: str) -> None:
    """Put an import behind the docstring of a module."""
    text = path.read_text(encoding="utf-8")
    assert "\nimport " in text
    path.write_text(text.replace("\nimport ", f"\n{line}\nimport ", 1), encoding="utf-8")


def test_an_unchanged_copy_keeps_the_contracts(copy: Path) -> None:
    assert lint_imports(copy)[0] == 0


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("wire/frames.py", "import socket", "Protocol code performs no I/O, reads no clock and logs nothing"),
        (
            "host/relay.py",
            "from wire import hpke",
            "The untrusted host knows frames, and no keys, evidence rules or plaintext",
        ),
        (
            "sottovoce/trust.py",
            "from attestation import simulated",
            "What verifies evidence imports neither what collects it nor what simulates it",
        ),
        (
            "host/link.py",
            "import enclave.listener",
            "Imports point one way, and the three sides never import each other",
        ),
    ],
)
def test_a_planted_import_breaks_its_contract(copy: Path, module: str, line: str, contract: str) -> None:
    plant(copy / module, line)
    code, printed = lint_imports(copy)
    assert code == 1
    assert f"{contract} BROKEN" in printed
    assert printed.count("BROKEN") == 1
    assert module.removesuffix(".py").replace("/", ".") in printed
