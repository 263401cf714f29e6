"""Check the addresses to which the command line sends requests, and which of them belong together.

A server's response is trusted only for addresses of its own kind: a page on AWS uses AWS's Cognito for
sign-in and AWS's S3 for uploads, and a local cloud uses its own address for both. Neither may name an address
of the other kind.
"""

from __future__ import annotations

import re

import httpx

from cli.console import CommandError

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_COGNITO = re.compile(r"cognito-idp\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?")
_S3 = re.compile(r"(?:[a-z0-9][a-z0-9.-]*\.)?s3(?:[.-][a-z0-9-]+){0,3}\.amazonaws\.com(?:\.cn)?")


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine's loopback interface."""
    return httpx.URL(url).host in _LOOPBACK


def use_proxies(url: str) -> bool:
    """Return whether a request uses the environment's proxies, which one to this machine must not."""
    return not is_loopback(url)


def page_address(given: str) -> str:
    """Return a page's address without a trailing slash.

    Raises:
        CommandError: it is not a valid address, or a password would be sent unencrypted.
    """
    url = _parsed(given)
    example = "Give it as `cdk deploy` printed it, such as https://d111111abcdef8.cloudfront.net."
    if url is None or not url.host or url.userinfo or url.query or url.fragment:
        raise CommandError(f"{given!r} is not the address of a page.", example)
    if url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK):
        return str(url).rstrip("/")
    raise CommandError(
        f"{given} is not encrypted: others on the network could read your password. Nothing was sent.",
        f"Use its https:// address. {example}",
    )


def sign_in_endpoint(page: str, named: object, region: object) -> str:
    """Return the sign-in address that a page's config.json names, if passwords may be sent there.

    Raises:
        CommandError: it is neither AWS's Cognito in the page's region nor a local cloud's own address.
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
        f"{page}/config.json names {named!r} as the address for passwords, which is not AWS's sign-in in "
        "that page's region. Nothing was sent.",
        "Check the address with whoever gave it to you.",
    )


def bucket_address(page: str, named: object) -> str:
    """Return the address of a bucket's upload form or download link that a page's API names, if it is valid.

    Raises:
        CommandError: it is neither AWS's S3 nor, for a local cloud, its own address.
    """
    url = _parsed(named)
    if url is not None and not url.userinfo:
        if is_loopback(page):
            if _origin(url) == _origin(httpx.URL(page)):
                return str(url)
        elif url.scheme == "https" and url.port is None and _S3.fullmatch(url.host):
            return str(url)
    raise CommandError(
        f"{page} names {str(named)[:100]!r} as the address of a bucket, which is not an address of S3. "
        "Nothing was sent there.",
        "Check the address of the page with whoever gave it to you.",
    )


def _parsed(given: object) -> httpx.URL | None:
    try:
        return httpx.URL(given) if isinstance(given, str) else None
    except httpx.InvalidURL:
        return None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
