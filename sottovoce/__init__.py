# SPDX-License-Identifier: Apache-2.0
"""The client people install.

trust: which policy applies, and what a verified enclave is to the user
session: requests and answers as ciphertext, without I/O
transport: the same over HTTP
"""
