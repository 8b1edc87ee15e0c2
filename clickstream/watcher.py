"""Stops an idle pair: a process of its own, started by `servers.up` when it is asked for.

Idle means that no client has been connected to either server for so long. It ends by itself
once both are down, whoever stopped them.

    python -m clickstream.watcher IDLE_SECONDS STATE_FOLDER
"""

from __future__ import annotations

import os
import sys
import time

import psutil

from clickstream import servers


def watch(idle_s: float) -> None:
    """Stop both once no client has been connected for `idle_s`; return when they are down."""
    idle_since_s = time.monotonic()
    while running := [server for server in servers.status() if server.pid is not None]:
        if any(map(_has_client, running)):
            idle_since_s = time.monotonic()
        if time.monotonic() - idle_since_s > idle_s:
            servers.down()
            return
        time.sleep(min(5.0, idle_s / 4))


def _has_client(server: servers.ServerStatus) -> bool:
    try:
        connections = psutil.Process(server.pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == server.port
        for each in connections
    )


if __name__ == "__main__":
    os.environ["CLICKSTREAM_STATE"] = sys.argv[2]
    watch(float(sys.argv[1]))
