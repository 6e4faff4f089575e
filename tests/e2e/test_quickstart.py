# SPDX-License-Identifier: Apache-2.0
"""The quick start as it is written: its commands in a fresh environment, against a real enclave."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Pair

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_THE_CLIENTS = {"llama_cpp_python", "jinja2", "msgspec", "numpy", "diskcache"}


def blocks() -> dict[str, str]:
    """The commands and the program, by language."""
    return dict(BLOCK.findall((ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")))


def test_the_program_in_the_text_is_the_one_that_is_run() -> None:
    program = (ROOT / "docs" / "first_answer.py").read_text(encoding="utf-8")
    assert blocks()["python"] == program
    assert len([line for line in program.splitlines() if line]) <= 10


@pytest.mark.timeout(300)
def test_every_command_works_from_nothing(pair: Pair, tmp_path: Path) -> None:
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    for name in ("attestation", "enclave", "host", "models", "sottovoce", "wire", "docs"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout / name)
    program = checkout / "docs" / "first_answer.py"
    program.write_text(program.read_text().replace("http://localhost:8080", pair.url))
    policy = home / ".local" / "share" / "sottovoce" / "simulated" / "policy.toml"
    policy.parent.mkdir(parents=True)
    shutil.copy(pair.place.policy, policy)
    said = [
        subprocess.run(
            command.split(),
            cwd=checkout,
            env=os.environ | {"HOME": str(home), "XDG_DATA_HOME": str(home / ".local" / "share")},
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
        ).stdout
        for command in blocks()[""].splitlines()
    ]
    assert said[-1].strip()
    (packages,) = (checkout / "quickstart" / "lib").glob("python*/site-packages")
    installed = {path.name.partition("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert {"sottovoce", "openai"} <= installed
    assert installed & NOT_THE_CLIENTS == set()
