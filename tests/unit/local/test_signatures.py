"""What botocore signs is understood, and nothing else is: botocore's signers are the judges."""

import datetime
import hashlib
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as some

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.web import request_signatures
from local.aws.web.request_signatures import NotAuthenticatedError, SignedRequest, signature_kind

SECRET = "a secret of this cloud"
HOST = "127.0.0.1:4566"
SIGNERS: dict[str, Any] = {"s3": S3SigV4Auth, "dynamodb": SigV4Auth, "lambda": SigV4Auth}

words = some.text(some.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)
# A dot segment is removed by some services and not by S3: botocore's own tests are about those.
paths = some.lists(words.filter(lambda word: word.strip(".")), max_size=3).map(
    lambda parts: "/" + "/".join(quote(part, safe="~") for part in parts)
)
queries = some.dictionaries(words, words | some.just(""), max_size=3)
# A header is signed without the spaces around it, and with one in place of several.
values = some.text(some.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.strip)


@pytest.fixture(autouse=True)
def root_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def arrived(request: AWSRequest, body: bytes) -> SignedRequest:
    """The request as a server sees it."""
    prepared = request.prepare()
    url = urlsplit(prepared.url)
    headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    headers["host"] = HOST
    query = parse_qs(url.query, keep_blank_values=True)
    return SignedRequest(prepared.method, url.path or "/", headers, query)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def signed(
    service: str,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    *,
    secret: str = SECRET,
) -> SignedRequest:
    url = (
        f"https://{HOST}{path}"
        + ("?" if query else "")
        + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    )
    request = AWSRequest("PUT", url, headers=headers, data=body)
    SIGNERS[service](Credentials(ACCOUNT, secret), service, REGION).add_auth(request)
    return arrived(request, body)


def refused(request: SignedRequest, body: bytes) -> str:
    with pytest.raises(NotAuthenticatedError) as error:
        request.verify(body)
    return error.value.code


@given(
    service=some.sampled_from(sorted(SIGNERS)), path=paths, query=queries, value=values, body=some.binary()
)
def test_botocores_signatures_are_verified(
    service: str, path: str, query: dict[str, str], value: str, body: bytes
) -> None:
    request = signed(service, path, query, {"X-Amz-Meta-Title": value, "X-Other": value}, body)
    assert signature_kind(request.headers, request.query) == "one"
    assert request.verify(body) == ACCOUNT
    assert request.body_hash == (request.headers["x-amz-content-sha256"] if service == "s3" else None)


@given(service=some.sampled_from(sorted(SIGNERS)), path=paths, query=queries, body=some.binary())
def test_every_change_after_signing_is_detected(
    service: str, path: str, query: dict[str, str], body: bytes
) -> None:
    request = signed(service, path, query, {"X-Amz-Meta-Title": "mine"}, body)
    changed = [
        SignedRequest("DELETE", request.raw_path, request.headers, request.query),
        SignedRequest("PUT", request.raw_path + "x", request.headers, request.query),
        SignedRequest("PUT", request.raw_path, request.headers, {**request.query, "acl": [""], "a": ["b"]}),
        SignedRequest("PUT", request.raw_path, {**request.headers, "host": "other:4566"}, request.query),
        SignedRequest(
            "PUT", request.raw_path, {**request.headers, "x-amz-meta-title": "theirs"}, request.query
        ),
        SignedRequest(
            "PUT", request.raw_path, {**request.headers, "x-amz-acl": "public-read"}, request.query
        ),
        signed(service, path, query, {}, body, secret="another"),
    ]
    assert {refused(one, body) for one in changed} == {"SignatureDoesNotMatch"}
    if service != "s3":
        assert refused(request, body + b"x") == "SignatureDoesNotMatch"


@given(path=paths, query=queries, seconds=some.integers(min_value=1, max_value=604800))
def test_botocores_presigned_urls_are_verified(path: str, query: dict[str, str], seconds: int) -> None:
    given_names = {name.lower() for name in query}
    if {"x-amz-date", "x-amz-expires"} & given_names:
        return
    url = f"https://{HOST}{path}?" + "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()
    )
    request = AWSRequest("GET", url)
    S3SigV4QueryAuth(Credentials(ACCOUNT, SECRET), "s3", REGION, expires=seconds).add_auth(request)
    link = arrived(request, b"")
    assert link.in_query
    assert link.verify(b"") == ACCOUNT
    longer = {**link.query, "X-Amz-Expires": [str(seconds - 1 or 2)]}
    assert refused(SignedRequest("GET", link.raw_path, link.headers, longer), b"") == "SignatureDoesNotMatch"


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("service", "minutes", "code"),
    [
        ("s3", 14, None),
        ("s3", 16, "RequestTimeTooSkewed"),
        ("s3", -16, "RequestTimeTooSkewed"),
        ("lambda", 16, "RequestTimeTooSkewed"),
    ],
)
def test_an_expired_signature_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: str, minutes: int, code: str | None
) -> None:
    then = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: then)
    request = signed(service, "/", {}, {}, b"")
    if code is None:
        assert request.verify(b"") == ACCOUNT
    else:
        assert refused(request, b"") == code


@pytest.mark.parametrize("key", ["test", "000000000000", "ASIAAAAAAAAAAAAAAAAA", ""])
def test_no_other_key_is_the_root_users(key: str) -> None:
    request = AWSRequest("GET", f"https://{HOST}/", headers={}, data=b"")
    SigV4Auth(Credentials(key or "x", SECRET), "sts", REGION).add_auth(request)
    one = arrived(request, b"")
    if not key:
        one = SignedRequest(
            "GET",
            "/",
            {**one.headers, "authorization": one.headers["authorization"].replace("=x/", "=/")},
            {},
        )
    assert refused(one, b"") in ("InvalidClientTokenId", "UnrecognizedClientException")


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/e"}, {"X-Amz-Credential": ["f"]}),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Credential=f/b/c/d/e"}, {}),
        ({"authorization": "AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d"}, {}),
        ({"authorization": "AWS key:signature"}, {}),
        ({}, {"AWSAccessKeyId": ["key"], "Signature": ["x"]}),
        ({}, {"X-Amz-Algorithm": ["AWS4-HMAC-SHA256"], "X-Amz-Credential": ["a", "b"]}),
        ({}, {"X-Amz-Algorithm": ["AWS4-HMAC-SHA256"], "X-Amz-Credential": ["a"], "x-amz-credential": ["b"]}),
        ({}, {"X-Amz-Credential": ["a/b/c/d/e"]}),
    ],
)
def test_two_signers_and_older_algorithms_are_refused(
    headers: dict[str, str], query: dict[str, list[str]]
) -> None:
    assert signature_kind(headers, query) == "unsupported"


PUBLISHED_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PUBLISHED_SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
CHUNKS = (
    (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)


@pytest.fixture
def in_2013(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key and the time of the examples in AWS's documentation."""
    monkeypatch.setattr(request_signatures, "_secret_of", lambda key, token: PUBLISHED_SECRET)
    monkeypatch.setattr(SignedRequest, "_check_time", lambda self, signature: None)


def published(method: str, path: str, signed_headers: str, signature: str, **headers: str) -> SignedRequest:
    authorization = f"AWS4-HMAC-SHA256 Credential={PUBLISHED_SCOPE},SignedHeaders={signed_headers},"
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given |= {"x-amz-date": "20130524T000000Z", "authorization": f"{authorization}Signature={signature}"}
    return SignedRequest(method, path, given, {})


@pytest.mark.usefixtures("in_2013")
@pytest.mark.aws_fact
def test_the_examples_of_the_documentation_are_right() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and its neighbours."""
    request = published(
        "GET",
        "/test.txt",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        host="examplebucket.s3.amazonaws.com",
        range="bytes=0-9",
        x_amz_content_sha256=hashlib.sha256(b"").hexdigest(),
    )
    assert request.verify(b"")
    link = {
        "X-Amz-Algorithm": ["AWS4-HMAC-SHA256"],
        "X-Amz-Credential": [PUBLISHED_SCOPE],
        "X-Amz-Date": ["20130524T000000Z"],
        "X-Amz-Expires": ["86400"],
        "X-Amz-SignedHeaders": ["host"],
        "X-Amz-Signature": ["aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"],
    }
    host = {"host": "examplebucket.s3.amazonaws.com"}
    assert SignedRequest("GET", "/test.txt", host, link).verify(b"")
    assert refused(SignedRequest("PUT", "/test.txt", host, link), b"") == "SignatureDoesNotMatch"


@pytest.mark.usefixtures("in_2013")
@pytest.mark.aws_fact
@pytest.mark.parametrize("changed", [None, 0, 1, 2])
def test_each_chunk_of_a_signed_stream_is_checked(changed: int | None) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html"""
    body = b""
    for number, (chunk, right) in enumerate(CHUNKS):
        sent = chunk.replace(b"a", b"b", 1) if number == changed and chunk else chunk
        signature = "0" * 64 if number == changed and not chunk else right
        body += f"{len(chunk):x};chunk-signature={signature}\r\n".encode() + sent + b"\r\n"
    request = published(
        "PUT",
        "/examplebucket/chunkObject.txt",
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        host="s3.amazonaws.com",
        content_encoding="aws-chunked",
        content_length="66824",
        x_amz_content_sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        x_amz_decoded_content_length="66560",
        x_amz_storage_class="REDUCED_REDUNDANCY",
    )
    if changed is None:
        assert request.verify(body)
    else:
        assert refused(request, body) == "SignatureDoesNotMatch"
