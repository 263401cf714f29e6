"""HTTP clients for an upstream server, whose answers are passed on piece by piece as they arrive."""

import ssl

import aiohttp

CONNECT_SECONDS = 10.0
_LONGEST_HEADER = 64 * 1024

ERRORS = (aiohttp.ClientError, TimeoutError)
"""The server cannot be reached, breaks off its answer, or does not answer in time."""


def session(
    trust: ssl.SSLContext | None = None,
    *,
    idle_seconds: float = 2.0,
    answer_seconds: float | None = None,
    socket: str | None = None,
) -> aiohttp.ClientSession:
    """Make a client that keeps its connections, adds no header of its own, and leaves bodies as they are.

    Args:
        trust: whose certificates to trust; None for a server of ours that speaks plain HTTP.
        idle_seconds: how long an unused connection stays open. It must be less than the server keeps it, or
            a request meets a closed connection: uvicorn keeps it for 5 seconds.
        answer_seconds: how long the server may be silent.
        socket: the Unix socket that the server listens on, if it does not listen on a port.
    """
    connector: aiohttp.BaseConnector
    if socket is None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_seconds, ssl=trust or False)
    else:
        connector = aiohttp.UnixConnector(socket, limit=0, keepalive_timeout=idle_seconds)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=answer_seconds),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
    )
