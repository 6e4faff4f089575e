# SPDX-License-Identifier: Apache-2.0
"""Build llama.cpp's library from the locked source distribution, once for this user, and keep it.

Only libllama and ggml are compiled, in the three variants of the CPU code that confidential machines have;
the Python bindings are packed around them into one wheel. Compiler flags leave no path of this machine in
the result. The wheel is kept under a key of everything that went into it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

RECIPE_VERSION = 1  # to be raised when the steps below make another library from the same flags
# Milan, Genoa and Turin, Sapphire Rapids and later. The best one for the machine is chosen at start.
CPU_VARIANTS = ("haswell", "zen4", "sapphirerapids")
LIBRARIES = (
    "libggml-base.so",
    "libggml.so",
    "libllama.so",
    *(f"libggml-cpu-{name}.so" for name in CPU_VARIANTS),
)
CMAKE_FLAGS = (
    "-DBUILD_SHARED_LIBS=ON",
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    "-DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON",  # a wheel cannot hold the links between versioned names
    "-DGGML_BACKEND_DL=ON",
    "-DGGML_CPU_ALL_VARIANTS=ON",
    "-DGGML_NATIVE=OFF",
    "-DGGML_RPC=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_COMMON=OFF",
    "-DLLAMA_BUILD_COMMIT=unknown",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_NUMBER=0",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF",
)
VARIANT = re.compile(r"^ *ggml_add_cpu_backend_variant\((\w+)[^)]*\)\n", re.MULTILINE)
PROGRESS = re.compile(r"\[(\d+)/(\d+)\]")


class BuildError(Exception):
    """The environment cannot be made; the message is one sentence for the person who ran make."""


class Step:
    """Numbered steps on a terminal, with the seconds that each took."""

    def __init__(self, total: int) -> None:
        self._number, self._total = 0, total
        self._live = sys.stderr.isatty()
        self._shown = -1

    @contextmanager
    def __call__(self, title: str) -> Generator[None]:
        """Show one step while it runs."""
        self._number += 1
        self._title, self._shown = title, -1
        self._write(f"[{self._number}/{self._total}] {title} ...")
        start = time.monotonic()
        yield
        self._write(
            f"[{self._number}/{self._total}] {title}: done in {time.monotonic() - start:.0f} s", last=True
        )

    def progress(self, done: int, total: int) -> None:
        """Show how far the running step is: a bar on a terminal, a line for each tenth elsewhere."""
        tenth = done * 10 // total
        if self._live:
            bar = "#" * (done * 24 // total)
            self._write(f"[{self._number}/{self._total}] {self._title} [{bar:<24}] {done}/{total}")
        elif tenth > self._shown:
            self._write(f"      {done} of {total}")
        self._shown = tenth

    def fail(self, sentence: str) -> None:
        """End with one sentence that says what to do."""
        sys.stderr.write(f"\nset-up stopped: {sentence}\n")

    def _write(self, line: str, *, last: bool = False) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{line}" + ("\n" if last else ""))
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


def library_wheel(python: Path, requirement: Path, step: Step) -> Path:
    """The wheel of the bindings with our libraries in it: from the user's cache, or compiled now.

    1. The key: the locked digest of the source, this recipe, and the compiler.
    2. The source distribution, by digest.
    3. The libraries, by the CMake and Ninja of the locked environment.
    4. The bindings around them, moved into the cache in one step: an interrupted build leaves nothing.
    """
    folder = cache_folder() / "llama" / build_key(requirement)  # 1
    kept = sorted(folder.glob("*.whl"))
    if kept:
        with step(f"Inference library, compiled earlier ({folder.name})"):
            return kept[0]
    check_compiler()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as work_name:
        work = Path(work_name)
        with step("Inference library, compiled once and kept (two to ten minutes)"):
            wheel = build_wheel(python, requirement, work, step)
            wheel.parent.rename(folder)
    return folder / wheel.name


def build_wheel(python: Path, requirement: Path, work: Path, step: Step) -> Path:
    """Steps 2 to 4 in an empty folder; the wheel, alone in a folder of its own."""
    source = unpack_source(python, requirement, work)  # 2
    compile_libraries(python, source, work / "build", step)  # 3
    return pack_wheel(python, source, work / "build", work / "wheel")  # 4


def cache_folder() -> Path:
    """The user's cache folder for this project."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sottovoce"


def build_key(requirement: Path) -> str:
    """A name for one build: any change of source, recipe, compiler or processor family gives another."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    version = (
        subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout if compiler else b""
    )
    recipe = repr((RECIPE_VERSION, CPU_VARIANTS, CMAKE_FLAGS, os.uname().machine)).encode()
    parts = (requirement.read_bytes(), recipe, version)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:20]


def check_compiler() -> None:
    """A C++ compiler that can make a program, or one sentence about what to install."""
    compiler = os.environ.get("CXX", "c++")
    probe = [compiler, "-std=c++17", "-x", "c++", "-", "-o", os.devnull]
    try:
        subprocess.run(probe, input=b"#include <vector>\nint main() {}\n", check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise BuildError(
            f"no working C++ compiler ({compiler}) was found; on Debian and Ubuntu: apt install g++"
        ) from None


def unpack_source(python: Path, requirement: Path, work: Path) -> Path:
    """Download the source distribution against its locked digest, and unpack it."""
    command: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "download",
        "--no-deps",
        "--no-binary=:all:",
    ]
    run([*command, "--no-build-isolation", "--require-hashes", "-r", requirement, "-d", work], work)
    run(["tar", "--extract", "--gzip", "--file", next(work.glob("*.tar.gz")), "--directory", work], work)
    return next(path for path in work.iterdir() if path.is_dir())


def compile_libraries(python: Path, source: Path, build: Path, step: Step) -> None:
    """Compile libllama and ggml."""
    configure(python, source, build, CMAKE_FLAGS)
    run([python.parent / "cmake", "--build", build, "--target", "llama"], build.parent, step)
    missing = [name for name in LIBRARIES if not (build / "bin" / name).exists()]
    if missing:
        raise BuildError(f"the build made no {', '.join(missing)}: this llama.cpp is laid out in another way")


def configure(python: Path, source: Path, build: Path, flags: Sequence[str]) -> None:
    """Prepare a build, leaving out the CPU variants that confidential machines do not have."""
    llama = source / "vendor" / "llama.cpp"
    recipe = llama / "ggml" / "src" / "CMakeLists.txt"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(
        VARIANT.sub(lambda line: line[0] if line[1] in CPU_VARIANTS else "", text), encoding="utf-8"
    )
    tools = python.parent
    mapping = f"-ffile-prefix-map={llama}=."
    places = [
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
        f"-DCMAKE_C_FLAGS={mapping}",
        f"-DCMAKE_CXX_FLAGS={mapping}",
    ]
    command: list[str | Path] = [tools / "cmake", "-G", "Ninja", "-S", llama, "-B", build]
    run([*command, *flags, *places], build.parent)


def pack_wheel(python: Path, source: Path, build: Path, folder: Path) -> Path:
    """Pack the bindings and the stripped libraries into one wheel."""
    destination = source / "llama_cpp" / "lib"
    destination.mkdir(exist_ok=True)
    for name in LIBRARIES:
        run(["strip", "-o", destination / name, build / "bin" / name], folder.parent)
    (source / ".gitignore").unlink(missing_ok=True)  # it would keep the libraries out of the wheel
    command: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
    ]
    settings = ("cmake.define.LLAMA_BUILD=OFF", "wheel.reproducible=true")  # dates and permissions as well
    command += [f"--config-settings={setting}" for setting in settings]
    run([*command, "-w", folder, source], folder.parent)
    return next(folder.glob("*.whl"))


def run(command: Sequence[str | Path], work: Path, step: Step | None = None) -> None:
    """Run one command with its output in a log file; on failure show the log's end."""
    log = work / "log"
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            counted = PROGRESS.match(line)
            if step and counted:
                step.progress(int(counted[1]), int(counted[2]))
    if process.returncode:
        last = log.read_text(encoding="utf-8").splitlines()[-12:]
        raise BuildError(f"{Path(command[0]).name} failed:\n    " + "\n    ".join(last))
