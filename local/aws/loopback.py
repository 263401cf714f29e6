"""Listens on a port of this machine at every address that `localhost` may mean.

A browser tries ::1 for `localhost` before 127.0.0.1. Whoever listens there, which may be another user of this
machine, would be our page to it, and be given the password and every token.
"""

import errno
import socket

# The address that every machine has comes last: once it answers, both are ours.
_ADDRESSES = ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
_HAS_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def listen(port: int) -> list[socket.socket]:
    """Listen on a port at ::1, if this machine has it, and at 127.0.0.1.

    Raises:
        OSError: another program has the port at one of them.
    """
    listening: list[socket.socket] = []
    for family, address in _ADDRESSES:
        try:
            listening.append(socket.create_server((address, port), family=family))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in _HAS_NO_IPV6:
                continue
            for one in listening:
                one.close()
            raise
    return listening
