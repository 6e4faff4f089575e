# SPDX-License-Identifier: Apache-2.0
"""Make `.venv/`: locked packages, the inference library, the default model. Quick when nothing changed.

Runs on the system's Python, before anything is installed, so it uses the standard library alone.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from deploy.llama.build import BuildError, Step, library_wheel

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "ready"
REQUIREMENTS = ROOT / "requirements"
DEFAULT_MODEL = "smollm2-135m-instruct"


def main() -> int:
    """Build what is missing; 0 when the environment is ready, 1 with one sentence when it cannot be."""
    step = Step(total=5)
    try:
        make(step)
    except BuildError as error:
        step.fail(str(error))
        return 1
    except KeyboardInterrupt:
        step.fail("interrupted; the next run goes on from here")
        return 130
    return 0


def make(step: Step) -> None:
    """Create the virtual environment, unless the one that stands was made from the same files."""
    digest = inputs_digest()
    if STAMP.exists() and STAMP.read_text(encoding="ascii") == digest:
        STAMP.touch()  # make compares dates, this script compares contents
        return
    STAMP.unlink(missing_ok=True)
    with step("Python environment in .venv"):
        create_virtual_environment()
    with step("Packages, each checked against its locked digest"):
        pip(
            "install",
            "--require-hashes",
            "--no-deps",
            "-r",
            REQUIREMENTS / "build.txt",
            "-r",
            REQUIREMENTS / "dev.txt",
        )
    wheel = library_wheel(VENV / "bin" / "python", REQUIREMENTS / "llama.txt", step)
    with step("Sottovoce itself"):
        pip("install", "--no-deps", "--force-reinstall", wheel)
        pip("install", "--no-deps", "--no-build-isolation", "--editable", ROOT)
    with step("Model weights, checked by digest"):
        run(VENV / "bin" / "python", "-P", "-m", "models.fetch", DEFAULT_MODEL)
    STAMP.write_text(digest, encoding="ascii")


def inputs_digest() -> str:
    """Name the environment by what goes into it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    described = json.dumps([sys.version, project["project"], project["build-system"]])
    digest = hashlib.sha256(described.encode())
    for path in (*sorted(REQUIREMENTS.glob("*.txt")), Path(__file__), ROOT / "deploy" / "llama" / "build.py"):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def create_virtual_environment() -> None:
    """A fresh environment with pip in it."""
    if importlib.util.find_spec("ensurepip") is None:
        raise BuildError(
            "Python's venv module is incomplete here; on Debian and Ubuntu: apt install python3-venv"
        )
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", VENV)
    pip("uninstall", "--yes", "setuptools")  # it would load itself into every process, the enclave's too


def pip(*arguments: str | Path) -> None:
    """Run the environment's own pip, quietly unless it fails."""
    run(VENV / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def run(*command: str | Path) -> None:
    """Run one command; what it printed is shown only when it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONUTF8": "1"}
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-12:]
        raise BuildError(f"{Path(command[0]).name} failed:\n    " + "\n    ".join(last))


if __name__ == "__main__":
    sys.exit(main())
