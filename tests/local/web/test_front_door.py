"""The browser's one address: page, API and uploads, as CloudFront would serve them."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from local.aws.local_aws import LocalAws
from tests.local.web.conftest import WebApp, free_port

pytestmark = pytest.mark.cloud

CSP = "default-src 'self'; frame-ancestors 'none'"  # as app/app.py sets it


@pytest.fixture
def browser(web: WebApp, request: pytest.FixtureRequest) -> httpx.Client:
    """Return a client that sends a browser's requests to the front door."""
    client = web.http(web.front_door)
    request.addfinalizer(client.close)
    return client


def test_the_page_comes_through_the_distribution_with_its_policy(browser: httpx.Client) -> None:
    answer = browser.get("/")
    assert answer.status_code == 200
    assert "<title>Test page</title>" in answer.text
    assert answer.headers["content-security-policy"] == CSP
    assert "cloudfront" in answer.headers["via"]


def test_a_path_of_the_page_itself_shows_the_page(browser: httpx.Client) -> None:
    answer = browser.get("/runs/20260901-101500-abcd")
    assert (answer.status_code, "<title>Test page</title>" in answer.text) == (200, True)


def test_only_the_distribution_may_read_the_bucket(web: WebApp) -> None:
    with web.http(f"https://127.0.0.1:{web.cloud.port}") as anybody:
        assert anybody.get(f"/{web.outputs['SiteBucket']}/index.html").status_code == 403


def test_the_api_answers_under_the_same_address(browser: httpx.Client) -> None:
    assert browser.get("/api/health").json() == {"ok": True}


def test_the_door_adds_who_asks_and_hides_nothing(browser: httpx.Client, web: WebApp) -> None:
    heard = browser.put(
        "/api/echo/x%20y?a=1", headers={**web.signed_in, "X-Own": "yes"}, content=b"ab" * 50_000
    ).json()
    assert heard["length"] == 100_000
    assert heard["headers"]["x-own"] == "yes"
    assert heard["path"] == "/api/echo/x y"
    assert heard["context"]["identity"]["sourceIp"] == "127.0.0.1"


def test_a_function_of_the_distribution_answers_before_the_origin(browser: httpx.Client, web: WebApp) -> None:
    refused = browser.get("/api/echo/guarded/x", headers=web.signed_in)
    assert (refused.status_code, refused.text, refused.headers["x-guard"]) == (418, "No.", "yes")
    passed = browser.get("/api/echo/guarded/x", headers={**web.signed_in, "X-Password": "1"})
    assert passed.json()["path"] == "/api/echo/guarded/x"
    assert browser.get("/api/echo/x", headers=web.signed_in).status_code == 200, "another behaviour"


def test_the_policy_of_headers_replaces_those_of_the_api(browser: httpx.Client, web: WebApp) -> None:
    passed = browser.get("/api/echo/guarded/x", headers={**web.signed_in, "X-Password": "1"})
    assert passed.headers.get_list("content-type") == ["text/own"]
    assert passed.headers["x-frame-options"] == "DENY"
    assert passed.headers["strict-transport-security"] == "max-age=86400; includeSubDomains"
    assert "x-frame-options" not in browser.get("/api/echo/x", headers=web.signed_in).headers


def _form(browser: httpx.Client, web: WebApp, name: str) -> dict[str, Any]:
    answer = browser.post("/api/uploads", params={"name": name}, headers=web.signed_in)
    assert answer.status_code == 200, answer.text
    form: dict[str, Any] = answer.json()
    assert form["url"].startswith(web.front_door)
    return form


def _send(browser: httpx.Client, form: dict[str, Any], content: bytes, **changed: str) -> httpx.Response:
    return browser.post(form["url"], data={**form["fields"], **changed}, files={"file": ("s.txt", content)})


def test_a_story_is_uploaded_with_a_presigned_form(browser: httpx.Client, web: WebApp) -> None:
    answer = _send(browser, _form(browser, web, "tales/one ä.txt"), b"Once upon a time.")
    assert answer.status_code == 204, answer.text
    stored = web.client("s3").get_object(Bucket=web.outputs["UploadsBucket"], Key="tales/one ä.txt")
    assert stored["Body"].read() == b"Once upon a time."


@pytest.mark.parametrize(
    ("content", "changed", "refusal"),
    [
        (b"x" * 101, {}, (400, "EntityTooLarge")),
        (b"", {}, (400, "EntityTooSmall")),
        (b"fine", {"key": "elsewhere.txt"}, (403, "AccessDenied")),
        (b"fine", {"x-amz-signature": "0" * 64}, (403, "SignatureDoesNotMatch")),
    ],
)
def test_the_forms_conditions_are_kept(
    browser: httpx.Client, web: WebApp, content: bytes, changed: dict[str, str], refusal: tuple[int, str]
) -> None:
    answer = _send(browser, _form(browser, web, "kept.txt"), content, **changed)
    assert answer.status_code == refusal[0], answer.text
    assert refusal[1] in answer.text
    listed = web.client("s3").list_objects_v2(Bucket=web.outputs["UploadsBucket"], Prefix="kept.txt")
    assert listed["KeyCount"] == 0


def _link(web: WebApp, key: str) -> str:
    """Return a presigned GET as a function makes it, led through the front door as the API does."""
    bucket = web.outputs["UploadsBucket"]
    web.client("s3").put_object(Bucket=bucket, Key=key, Body=b"<h1>A report</h1>", ContentType="text/html")
    signer = web.client("s3", signature_version="s3v4")
    signed = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    parts = urlsplit(signed)
    return f"/aws/s3{parts.path}?{parts.query}"


def test_a_page_is_opened_by_a_presigned_link(browser: httpx.Client, web: WebApp) -> None:
    answer = browser.get(_link(web, "runs/ä b/report.html"))
    assert answer.status_code == 200, answer.text
    assert answer.text == "<h1>A report</h1>"
    assert answer.headers["content-type"] == "text/html"


def test_without_its_signature_a_link_opens_nothing(browser: httpx.Client, web: WebApp) -> None:
    link = _link(web, "runs/1/report.html")
    assert browser.get(link.partition("?")[0]).status_code == 403
    assert browser.get(link.replace("/runs/1/", "/runs/2/")).status_code == 403
    assert browser.get(re.sub("(Signature=)[0-9a-f]{8}", r"\g<1>00000000", link)).status_code == 403


def test_the_door_answers_at_every_address_that_localhost_may_mean(web: WebApp) -> None:
    """A browser tries ::1 first."""
    for address in ("127.0.0.1", "[::1]"):
        answer = httpx.get(f"http://{address}:{web.cloud.page_port}/api/health", trust_env=False)
        assert answer.json() == {"ok": True}


def test_before_a_deployment_the_door_says_so_and_beside_another_cloud(tmp_path: Path, web: WebApp) -> None:
    cloud = LocalAws(tmp_path / "empty", port=free_port(), page_port=free_port())
    cloud.up()
    try:
        answer = httpx.get(cloud.page_url, trust_env=False)
        assert (answer.status_code, "not deployed yet" in answer.text) == (503, True)
        assert httpx.get(web.front_door, trust_env=False).status_code == 200
    finally:
        cloud.down()
