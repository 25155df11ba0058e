"""Echo client on the blocking face: ``create_connection``, ``recv_data``, ``send``."""

from __future__ import annotations

import websocket
from compliance.drivers import COMPRESSION, run_cases


def echo(url: str) -> None:
    """Return each message with the opcode that it came with."""
    try:
        with websocket.create_connection(url, compression=COMPRESSION) as connection:
            while True:
                opcode, data = connection.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    break
                connection.send(data, opcode)
    except websocket.WebSocketException:
        # Most cases provoke one; whether the library handled it well is the server's verdict.
        pass


if __name__ == "__main__":
    run_cases("blocking", echo)
