# SPDX-License-Identifier: Apache-2.0
"""Azure's confidential machines, whose evidence comes through a virtual TPM (attestation.md 6).

hcl: the blob of NV index 0x01400001, which holds the hardware's report and the runtime data it is bound to
runtime: the runtime data, with the public key of the virtual TPM
tdreport: the hardware's report of an Intel machine
tpm: a TPM's quote, its signature, and the digest over its registers
checks: what follows from all of these, as named checks
gce: Google's statements about its machines, beside the quote
"""
