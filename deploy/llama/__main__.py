# SPDX-License-Identifier: Apache-2.0
"""`make library`: print where the wheel of the inference library is, compiled first where it is not yet."""

import sys
from pathlib import Path

from deploy.llama.build import BuildError, Step, library_wheel

REQUIREMENT = Path(__file__).parents[2] / "requirements" / "llama.txt"


def main() -> int:
    """0 with the path on standard output, 1 with one sentence where it cannot be made."""
    step = Step(total=1)
    try:
        wheel = library_wheel(Path(sys.executable), REQUIREMENT, step)
    except BuildError as error:
        step.fail(str(error))
        return 1
    sys.stdout.write(f"{wheel}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
