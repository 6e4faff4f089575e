# SPDX-License-Identifier: Apache-2.0
"""Runs a server of llama-cpp-python elsewhere, with the CPU code loaded, which the bindings leave to others.

`_bindings.py FOLDER MODULE_OR_FILE ARGUMENTS...`, with llama.cpp's libraries in the folder.
"""

import ctypes
import os
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Load, and become the server."""
    folder, program = Path(sys.argv[1]), sys.argv[2]
    os.environ["LLAMA_CPP_LIB_PATH"] = os.environ["MTMD_CPP_LIB"] = str(folder)
    ggml = ctypes.CDLL(str(folder / "libggml.so"), mode=ctypes.RTLD_GLOBAL)
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    sys.argv = sys.argv[2:]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
