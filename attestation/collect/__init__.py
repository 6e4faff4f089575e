# SPDX-License-Identifier: Apache-2.0
"""Gets evidence from the hardware, from inside the guest (attestation.md 6). Runs in the enclave alone.

The host answers most of what is asked here: it can send an old report, another machine's, junk, or nothing.
So sizes and waiting times are bounded, and a report leaves this package only if it answers the request.

errors: what went wrong, by who must act, and what to do about it
patience: how often and how long a request is repeated
files: the few operations on files that this package needs
device: a device file, one user at a time
configfs: the kernel's own interface, the same for all vendors
certificate_table: the certificates that a host adds to an SNP report
sev_guest: /dev/sev-guest
tdx_guest: /dev/tdx_guest
quoting_service: the service that makes a quote of a TDREPORT, over vsock
own_report: whether a report answers the request
detect: what this machine offers, and which of it to use
source: reports for the enclave
__main__: prints all of this for a person
"""
