# SPDX-License-Identifier: Apache-2.0
"""Put the parts together: set up, run, and show.

environment: .venv/ from locked files
llama: the inference library from its locked source
local: an enclave and a host as two programs on this machine
wiretap: a relay that records every byte that passes
search: look for a text in memory, files and recordings, in the forms it could have
run: make run
demo: make demo
"""
