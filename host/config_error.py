# SPDX-License-Identifier: Apache-2.0
"""What every part of the configuration raises."""


class ConfigError(Exception):
    """The configuration is not well formed."""
