# SPDX-License-Identifier: Apache-2.0
"""What is measured, against whom, in one run: `python -m benchmarks.NAME`, `--json` for machines.

overhead: an answer through client, host and enclave, beside the same model called directly
_report: the form that all benchmarks share
"""
