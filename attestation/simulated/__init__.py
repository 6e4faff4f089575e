# SPDX-License-Identifier: Apache-2.0
"""A vendor of our own, with a real chain, for machines without the hardware. It protects nothing.

vendor: the root and chip kept in a folder; switching on a simulated machine
certificates: the vendor's certificates and revocation lists
snp: the simulated machine, which signs reports
__main__: prints the policy that accepts this machine's simulated hardware

What verifies evidence never imports this package; a policy names a simulated root by its fingerprint.
"""
