# SPDX-License-Identifier: Apache-2.0
"""Small mistakes put into the code that decides, to see that a test notices each: `make mutants`.

mistakes: the mistakes that can be made in a module
trial: one mistake, tried in a process of its own
accepted: mistakes that no test can notice, each with the reason
"""
