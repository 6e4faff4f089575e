# SPDX-License-Identifier: Apache-2.0
"""Build llama.cpp's own server from the same locked source, for the benchmark alone, and keep it.

`python -m deploy.llama.peer` prints the folder of the program. Beside it: the example server of the bindings'
source, and an environment in which it and `llama_cpp.server` run. Nothing of it becomes part of the enclave.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from deploy.llama.build import (
    CMAKE_FLAGS,
    BuildError,
    Step,
    build_key,
    cache_folder,
    configure,
    library_wheel,
    run,
    unpack_source,
)

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENT = ROOT / "requirements" / "llama.txt"
PEERS = ROOT / "requirements" / "peers.txt"
PROGRAM, EXAMPLE = "llama-server", "server.py"
# The library's flags but these: the server needs the common code, and takes no page from anywhere.
SERVER_FLAGS = (
    "-DLLAMA_BUILD_COMMON=ON",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
)
FLAGS = (*CMAKE_FLAGS, *SERVER_FLAGS)


def peer_folder() -> Path:
    """Where the program and its libraries are kept."""
    return cache_folder() / "llama-server" / build_key(REQUIREMENT)


def peer_python() -> Path:
    """The interpreter that runs servers in Python."""
    return peer_folder() / "python" / "bin" / "python"


def build_peer(python: Path, step: Step) -> Path:
    """The folder with the program: kept from earlier, or compiled now. Raises BuildError."""
    folder = peer_folder()
    if (folder / PROGRAM).exists():
        return folder
    work = folder.with_suffix(".building")  # kept when interrupted: the next run goes on from there
    with step("llama-server, compiled once and kept (five to ten minutes)"):
        if not (work / "build").exists():
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            configure(python, unpack_source(python, REQUIREMENT, work), work / "build", FLAGS)
        run([python.parent / "cmake", "--build", work / "build", "--target", PROGRAM], work, step)
        (work / "build" / "bin").rename(folder)
        shutil.rmtree(work)
    return folder


def add_python_servers(python: Path, step: Step) -> None:
    """The servers in Python beside it, with the locked packages that they need. Raises BuildError."""
    folder = peer_folder()
    if (folder / EXAMPLE).exists():
        return
    wheel = library_wheel(python, REQUIREMENT, step)
    with step("servers in Python"), tempfile.TemporaryDirectory(dir=folder) as name:
        work, environment = Path(name), folder / "python"
        run([python, "-m", "venv", "--clear", environment], work)
        install = [
            peer_python(),
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
            "--no-deps",
        ]
        run([*install, "--require-hashes", "-r", PEERS], work)
        run([*install, wheel], work)
        source = unpack_source(python, REQUIREMENT, work)
        (source / "examples" / "server" / EXAMPLE).rename(folder / EXAMPLE)


def main() -> int:
    """Build, and say where it is."""
    step, python = Step(total=3), Path(sys.executable)
    try:
        folder = build_peer(python, step)
        add_python_servers(python, step)
        sys.stdout.write(f"{folder}\n")
    except BuildError as error:
        step.fail(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
