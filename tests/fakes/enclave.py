# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.fakes.enclave VENDOR FOLDER OCTET --config FILE`: an enclave with a reporter of a test."""

import sys

from enclave.__main__ import main

if __name__ == "__main__":
    reporter, sys.argv[1:] = tuple(sys.argv[1:4]), sys.argv[4:]
    sys.exit(main(("tests.fakes.reporter", *reporter)))
