# SPDX-License-Identifier: Apache-2.0
"""A vendor of our own, with real chains, for machines without the hardware. It protects nothing.

vendor: AMD's side, kept in a folder: roots, chips, guests; and the way to Intel's side
amd: everything there is to choose about a guest
snp: the simulated SEV-SNP machine, which signs reports
certificates: AMD's certificates and revocation lists
intel: Intel's side, from a seed: everything there is to choose about a trust domain, and starting it
td_quote: quotes of versions 4 and 5
td_report: what a quote is made of
event_log: what a trust domain measured at its start
pck: what Intel certifies of one platform
intel_certificates: Intel's certificates and revocation lists
collateral: what Intel publishes: TCB info and the quoting enclave's identity
tdx_statuses: machines for which Intel's algorithm concludes each status
knobs, snp_knobs, tdx_knobs: one thing wrong at a time, and the check that must notice it
seed, window, folder: keys from a seed, validity, private files
files, arguments, __main__: the command, which writes evidence for other programs

What verifies evidence never imports this package; a policy names a simulated root by its fingerprint.

From a seed follow all keys, certificates and signatures of Intel's side, and the chip's keys and reports of
AMD's (ECDSA with the nonces of RFC 6979). AMD's authorities are RSA-4096: the library derives no RSA key from
a seed and takes no salt for RSA-PSS, so those keys are random, kept in the folder, and what they sign differs
in its signature each time.
"""
