# SPDX-License-Identifier: Apache-2.0
"""Build llama.cpp's own server from the same locked source, for the benchmark alone, and keep it.

`python -m deploy.llama.peer` prints the folder of the program. Nothing of it becomes part of the enclave.
"""

import shutil
import sys
from pathlib import Path

from deploy.llama.build import (
    CMAKE_FLAGS,
    BuildError,
    Step,
    build_key,
    cache_folder,
    configure,
    run,
    unpack_source,
)

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENT = ROOT / "requirements" / "llama.txt"
PROGRAM = "llama-server"
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


def main() -> int:
    """Build, and say where it is."""
    step = Step(total=1)
    try:
        sys.stdout.write(f"{build_peer(Path(sys.executable), step)}\n")
    except BuildError as error:
        step.fail(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
