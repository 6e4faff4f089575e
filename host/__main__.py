# SPDX-License-Identifier: Apache-2.0
"""Run a host: `python -P -m host --config FILE`."""

import argparse
import sys
from pathlib import Path

import uvicorn

from host.config import Config, ConfigError, parse_config
from host.gateway import application


def server(config: Config) -> uvicorn.Server:
    """The HTTP server. It keeps no access log: who asked when is nobody's business."""
    settings = uvicorn.Config(
        application(config.link),
        host=config.listen_host,
        port=config.listen_port,
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(settings)


def main() -> int:
    """Serve until told to stop; 2 for a configuration that cannot be run."""
    parser = argparse.ArgumentParser(
        prog="python -P -m host", description="Run the untrusted host of one enclave."
    )
    parser.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="TOML file; docs/operations.md has one"
    )
    arguments = parser.parse_args()
    try:
        config = parse_config(arguments.config.read_text(encoding="utf-8"))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"the host does not start: {arguments.config}: {error}\n")
        return 2
    server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
