# SPDX-License-Identifier: Apache-2.0
"""What is measured, against whom, in one run: `python -m benchmarks.NAME`, `--json` for machines.

overhead: an answer through client, host and enclave, beside the same model called directly
client: the start of the command, and an answer beside plain HTTP
leakage: what sizes and times of answers tell of their topic, with each kind of shaping and without
resume: a conversation resumed from its sealed snapshot, beside computing it again
_traces: what an observer between host and client sees
_attackers: who guesses from it
_texts: questions and docstrings of one topic among many
_synthetic: answers without a model, through the real shapers
_report: the form that all benchmarks share
"""
