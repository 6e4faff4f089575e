# SPDX-License-Identifier: Apache-2.0
"""The client people install.

trust: which policy applies, and what a verified enclave is to the user
session: requests and answers as ciphertext, without I/O
transport: the same over HTTP
files: files as a person names them, read with limits
offline: evidence in files, told by its content and judged
clouds: what belongs to evidence from Azure and from Google
gpu: GPU evidence in files
results: results, signed or not, and wrapped evidence
verification: the command `verify`
terminal: what a person sees
"""
