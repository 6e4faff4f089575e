# SPDX-License-Identifier: Apache-2.0
"""The engine process: it runs the model, and never sees a key.

protocol: what session process and engine process say to each other
client: the session process's end
__main__: the engine process
llama: the only module that touches llama.cpp
template: the model's own chat template
text: tokens into text that never splits a character and never shows a stop string
"""
