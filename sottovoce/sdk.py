# SPDX-License-Identifier: Apache-2.0
"""From an address to a verified connection, in one call."""

from pathlib import Path

from attestation.policy import Policy, PolicyError, with_audience
from sottovoce.one_time_keys import Assurance
from sottovoce.opening import KEYS
from sottovoce.transport import Connection
from sottovoce.trust import NoPolicyError, choose_policy, origin


def connect(
    url: str,
    policy: Policy | Path | str | None = None,
    *,
    simulated: bool = False,
    assurance: Assurance = Assurance.FRESH,
    keys: int = KEYS,
) -> Connection:
    """A connection to the enclave behind this address, verified and with a session open.

    `policy` is one, or the file of one; None is the default policy, which accepts hardware alone. `simulated`
    accepts this machine's simulated enclave. `keys` is how many requests may wait for their answers at once.
    Raises NoPolicyError, and what `Connection.open` raises; then nothing of the user's was sent.
    """
    connection = Connection(url, _chosen(url, policy, simulated=simulated), assurance=assurance, keys=keys)
    try:
        connection.open()
    except BaseException:
        connection.close()
        raise
    return connection


def _chosen(url: str, policy: Policy | Path | str | None, *, simulated: bool) -> Policy:
    if not isinstance(policy, Policy):
        return choose_policy(url, file=None if policy is None else Path(policy), simulated=simulated)
    try:
        return with_audience(policy, origin(url))
    except PolicyError as error:
        raise NoPolicyError(str(error)) from None
