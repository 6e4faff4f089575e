# SPDX-License-Identifier: Apache-2.0
"""Which weights, under which digest and licence.

manifest: what is known of one model before a byte of it is read; the catalogue of known ones
gguf, gguf_types: a strict reader of model files, before llama.cpp sees them
describe: what a model file says of itself
library: the catalogue and a user's own manifests
fetch, download: bring a model's weights into the user's cache, and check them
requantise, llama: weights in another format, with what that costs and gains
screen, __main__: the command `sottovoce-models`
"""
