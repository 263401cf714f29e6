"""Which addresses the command line sends passwords and stories to.

A server's answer is trusted for its own kind of address only: a page on AWS signs people in at AWS's Cognito
and uploads to AWS's S3, a local cloud does both at its own address, and neither may name an address of the
other kind.
"""

from __future__ import annotations

import re

import httpx

from cli.console import CommandError

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_COGNITO = re.compile(r"cognito-idp\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?")
_S3 = re.compile(r"(?:[a-z0-9][a-z0-9.-]*\.)?s3(?:[.-][a-z0-9-]+){0,3}\.amazonaws\.com(?:\.cn)?")


def is_loopback(url: str) -> bool:
    """Tell whether an address is this machine's own."""
    return httpx.URL(url).host in _LOOPBACK


def use_proxies(url: str) -> bool:
    """Tell whether the proxies of the environment may see a request: not if it stays on this machine."""
    return not is_loopback(url)


def page_address(given: str) -> str:
    """Return a page's address without a slash at its end.

    Raises:
        CommandError: it is not an address, or a password would be sent over it unencrypted.
    """
    url = _parsed(given)
    example = "Give it as `cdk deploy` printed it, such as https://d111111abcdef8.cloudfront.net."
    if url is None or not url.host or url.userinfo or url.query or url.fragment:
        raise CommandError(f"{given!r} is not the address of a page.", example)
    if url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK):
        return str(url).rstrip("/")
    raise CommandError(
        f"{given} is not encrypted: everybody on the way could read your password. Nothing was sent.",
        f"Use its https:// address. {example}",
    )


def sign_in_endpoint(page: str, named: object, region: object) -> str:
    """Return the sign-in address that a page's config.json names, to which passwords are sent.

    Raises:
        CommandError: it is neither AWS's Cognito in the page's region nor, for a local cloud, its own.
    """
    url = _parsed(named)
    if url is not None and not url.userinfo:
        if is_loopback(page):
            if _origin(url) == _origin(httpx.URL(page)):
                return str(url)
        else:
            match = _COGNITO.fullmatch(url.host)
            if url.scheme == "https" and url.port is None and match and match[1] == region:
                return str(url)
    raise CommandError(
        f"{page}/config.json has the sign-in address {named!r}, which is not AWS's sign-in of that page's "
        "region. Nothing was sent.",
        "Check the address with whoever gave it to you.",
    )


def bucket_address(page: str, named: object) -> str:
    """Return the address of a form or a link into a bucket, which the API of a page names.

    Raises:
        CommandError: it is neither AWS's S3 nor, for a local cloud, its own.
    """
    url = _parsed(named)
    if url is not None and not url.userinfo:
        if is_loopback(page):
            if _origin(url) == _origin(httpx.URL(page)):
                return str(url)
        elif url.scheme == "https" and url.port is None and _S3.fullmatch(url.host):
            return str(url)
    raise CommandError(
        f"{page} names {str(named)[:100]!r} as the address of a bucket, which it cannot be. "
        "Nothing was sent there."
    )


def _parsed(given: object) -> httpx.URL | None:
    try:
        return httpx.URL(given) if isinstance(given, str) else None
    except httpx.InvalidURL:
        return None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
