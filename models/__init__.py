# SPDX-License-Identifier: Apache-2.0
"""Which weights, under which digest and licence.

manifest: what is known of one model before a byte of it is read; the catalogue of known ones
fetch: bring a model's weights into the user's cache, and check them
"""
