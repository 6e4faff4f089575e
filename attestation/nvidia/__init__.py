# SPDX-License-Identifier: Apache-2.0
"""Attestation of NVIDIA's GPUs (attestation.md 2, 6 and 7.5, X6).

p384: whether a key made a signature: ECDSA P-384 and SHA-384, in a GPU's chain and by the GPU
certificates: a chain from the GPU's firmware key to NVIDIA's root
measurements: the SPDM report: request, measurements, opaque fields, signature
payload: what NVIDIA's remote service is sent
checks: what follows from report, chain and nonce, as named checks
"""
