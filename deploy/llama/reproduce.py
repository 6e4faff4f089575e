# SPDX-License-Identifier: Apache-2.0
"""Build the inference library once more, in another folder, and compare it with the one in use.

`python -m deploy.llama.reproduce` says of every file in the wheel whether it is the same. With `--plain` the
source distribution's own build is timed instead, whose result is thrown away. Exit codes: 0 the same, or
timed; 1 not the same, or it cannot be built.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from deploy.llama.build import (
    BuildError,
    Step,
    build_wheel,
    check_compiler,
    library_wheel,
    run,
    unpack_source,
)

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENT = ROOT / "requirements" / "llama.txt"


def digests(wheel: Path) -> dict[str, str]:
    """The SHA-256 of every file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in sorted(archive.namelist())}


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """The names of files that are not in both, or not the same in both."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def build_again(python: Path, folder: Path, step: Step) -> bool:
    """Build in this folder; print what is the same, and whether everything is. Raises BuildError."""
    kept = library_wheel(python, REQUIREMENT, step)
    start = time.monotonic()
    with step("Inference library, once more"):
        made = build_wheel(python, REQUIREMENT, folder, step)
    seconds = time.monotonic() - start
    known, found = digests(kept), digests(made)
    different = differences(known, found)
    for name in sorted(found):
        if name.endswith(".so") or name in different:
            sys.stdout.write(f"{'DIFFERENT' if name in different else 'same':9}  {found[name]}  {name}\n")
    sys.stdout.write(f"{len(found) - len(different)} of {len(found)} files are the same; {seconds:.0f} s\n")
    return not different


def build_plainly(python: Path, folder: Path, step: Step) -> None:
    """What an ordinary installation does: everything, for the processor at hand. Raises BuildError."""
    start = time.monotonic()
    with step("The source distribution's own build"):
        source = unpack_source(python, REQUIREMENT, folder)
        command: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
        run([*command, "--no-build-isolation", "-w", folder / "wheel", source], folder)
    sys.stdout.write(f"{time.monotonic() - start:.0f} s\n")


def main() -> int:
    """Build and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plain", action="store_true", help="time the source distribution's own build")
    options = parser.parse_args()
    step, python = Step(total=1 if options.plain else 2), Path(sys.executable)
    folder = Path(tempfile.mkdtemp(prefix="sottovoce-another-folder-"))
    try:
        check_compiler()
        if options.plain:
            build_plainly(python, folder, step)
            return 0
        return 0 if build_again(python, folder, step) else 1
    except BuildError as error:
        step.fail(str(error))
        return 1
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
