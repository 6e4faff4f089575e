# SPDX-License-Identifier: Apache-2.0
"""The untrusted courier: it moves ciphertext and public documents, and can read neither prompt nor answer.

gateway: the HTTP side
relay: the bytes of one exchange on the link, as a pure function
link: the connection to the enclave
config: the closed schema of its configuration
"""
