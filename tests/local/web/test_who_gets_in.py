"""Nobody without the cloud's secret acts on it, whichever way a request takes."""

import hashlib
import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import httpx
import psutil
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.processes import belonging_to, cloud_id
from tests.local.web.attacks import ROOT_IN_THE_QUERY, state_of
from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud

JSON_TYPE = "application/x-amz-json-1.1"
SIGN_IN = "AWSCognitoIdentityProviderService"


@pytest.fixture
def page(web: WebApp) -> Iterator[httpx.Client]:
    """Return the front door."""
    with web.http(web.front_door) as client:
        yield client


@pytest.fixture
def aws(web: WebApp) -> Iterator[httpx.Client]:
    """Return the port of the AWS APIs."""
    with web.http(web.cloud.environment()["AWS_ENDPOINT_URL"]) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_happened(web: WebApp) -> Iterator[None]:
    """Require that the cloud's stacks, functions, buckets and people stay as they were."""
    before = state_of(web)
    yield
    assert state_of(web) == before


def client_with(
    web: WebApp, service: str, key: str, secret: str, token: str | None = None, **config: Any
) -> Any:
    """Return a client of somebody else."""
    environment = web.cloud.environment()
    session: Any = boto3.Session(key, secret, token, region_name=REGION)
    return session.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        verify=environment["AWS_CA_BUNDLE"],
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def code_of(call: Any, **named: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**named)
    return str(refused.value.response["Error"]["Code"])


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", JSON_TYPE])
def test_root_credentials_in_a_query_make_no_stack(page: httpx.Client, content_type: str) -> None:
    answer = page.post(
        f"/aws/cognito-idp/?{urlencode(ROOT_IN_THE_QUERY)}",
        content=urlencode(ROOT_IN_THE_QUERY),
        headers={"content-type": content_type},
    )
    assert answer.status_code >= 400


@pytest.mark.parametrize("key", [ACCOUNT, "test", "000000000000", "AKIAIOSFODNN7EXAMPLE"])
@pytest.mark.parametrize("where", ["header", "query"])
def test_an_invented_signature_of_root_is_refused(aws: httpx.Client, key: str, where: str) -> None:
    credential = f"{key}/20261101/{REGION}/cloudformation/aws4_request"
    form = {name: value for name, value in ROOT_IN_THE_QUERY.items() if not name.startswith("X-Amz")}
    if where == "query":
        signed = {name: value for name, value in ROOT_IN_THE_QUERY.items() if name.startswith("X-Amz")}
        answer = aws.post(f"/?{urlencode({**signed, 'X-Amz-Credential': credential})}", data=form)
    else:
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
        )
        headers = {"authorization": authorization, "x-amz-date": "20261101T000000Z"}
        answer = aws.post("/", data=form, headers=headers)
    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize(
    "path", ["/_ministack/reset", "/%5Fministack/reset", "/x/../_ministack/reset", "/_localstack/health"]
)
@pytest.mark.parametrize("door", ["page", "aws"])
def test_no_path_of_the_stand_in_itself_is_reached(
    page: httpx.Client, aws: httpx.Client, door: str, path: str
) -> None:
    client = {"page": page, "aws": aws}[door]
    url = httpx.URL(str(client.base_url)).copy_with(raw_path=path.encode())
    for method in ("GET", "POST"):
        answer = client.send(client.build_request(method, url))
        assert "reset" not in answer.text or answer.status_code >= 400
        assert "services" not in answer.text


def test_the_settings_of_the_stand_in_are_out_of_reach(page: httpx.Client, aws: httpx.Client) -> None:
    for client in (page, aws):
        answer = client.post("/_ministack/config", json={"stepfunctions._SFN_WAIT_SCALE": 0})
        assert answer.status_code >= 400
        assert "applied" not in answer.text


def test_health_says_that_the_cloud_is_up_and_nothing_else(aws: httpx.Client) -> None:
    assert aws.get("/_ministack/health").json() == {"status": "up"}


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    ("service", "operation", "wrong_secret", "unknown_key"),
    [
        ("sts", "get_caller_identity", "SignatureDoesNotMatch", "InvalidClientTokenId"),
        ("cloudformation", "list_stacks", "SignatureDoesNotMatch", "InvalidClientTokenId"),
        ("s3", "list_buckets", "SignatureDoesNotMatch", "InvalidAccessKeyId"),
        ("dynamodb", "list_tables", "InvalidSignatureException", "UnrecognizedClientException"),
        ("sagemaker", "list_models", "InvalidSignatureException", "UnrecognizedClientException"),
        ("lambda", "list_functions", "InvalidSignatureException", "UnrecognizedClientException"),
    ],
)
def test_each_protocol_refuses_a_wrong_signature_in_its_own_words(
    web: WebApp, service: str, operation: str, wrong_secret: str, unknown_key: str
) -> None:
    assert code_of(getattr(client_with(web, service, ACCOUNT, "guessed"), operation)) == wrong_secret
    for key in ("test", "000000000000", "ASIAAAAAAAAAAAAAAAAA"):
        assert code_of(getattr(client_with(web, service, key, "guessed"), operation)) == unknown_key


@pytest.mark.aws_fact
def test_a_request_without_credentials_is_told_so(aws: httpx.Client, web: WebApp) -> None:
    listing = {"Action": "ListStacks", "Version": "2010-05-15"}
    assert (
        "MissingAuthenticationToken"
        in aws.post("/", data=listing, headers={"host": aws.base_url.netloc.decode()}).text
    )
    target = {"content-type": JSON_TYPE, "x-amz-target": "DynamoDB_20120810.ListTables"}
    answer = aws.post("/", content="{}", headers=target)
    assert (answer.status_code, "MissingAuthenticationToken" in answer.text) == (400, True)
    answer = aws.get(f"/{web.outputs['UploadsBucket']}")
    assert (answer.status_code, "AccessDenied" in answer.text) == (403, True)


def signed(
    web: WebApp, service: str, url: str, body: bytes, method: str = "POST", **headers: str
) -> dict[str, str]:
    """Return the headers of a request that botocore signed as the account's root."""
    environment = web.cloud.environment()
    request = AWSRequest(method, url, headers=headers, data=body)
    root = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(root, service, REGION).add_auth(request)
    given = dict(request.headers.items())
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in given.items()}


@pytest.mark.aws_fact
def test_a_signature_covers_body_host_and_every_amz_header(web: WebApp, aws: httpx.Client) -> None:
    url = f"{aws.base_url}"
    target = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.ListTables"}
    headers = signed(web, "dynamodb", url, b"{}", **target)
    assert aws.post("/", content=b"{}", headers=headers).status_code == 200
    assert "InvalidSignature" in aws.post("/", content=b'{"Limit": 1}', headers=headers).text
    changed = {**headers, "X-Amz-Target": "DynamoDB_20120810.ListBackups"}
    assert "InvalidSignature" in aws.post("/", content=b"{}", headers=changed).text
    unsigned = {**headers, "X-Amz-User-Agent": "added"}
    assert aws.post("/", content=b"{}", headers=unsigned).status_code == 400
    authorization = headers["Authorization"]
    without_host = {**headers, "Authorization": authorization.replace("host;", "")}
    assert aws.post("/", content=b"{}", headers=without_host).status_code == 400


def test_two_credentials_in_one_request_are_refused(web: WebApp, aws: httpx.Client) -> None:
    """Who signed and who acts would be read from different places."""
    target = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.ListTables"}
    headers = signed(web, "dynamodb", f"{aws.base_url}", b"{}", **target)
    query = urlencode({"X-Amz-Credential": f"{ACCOUNT}/20261101/{REGION}/dynamodb/aws4_request"})
    assert aws.post(f"/?{query}", content=b"{}", headers=headers).status_code >= 400
    twice = headers["Authorization"].replace("Credential=", f"Credential={ACCOUNT}/a/b/c/d, Credential=", 1)
    assert aws.post("/", content=b"{}", headers={**headers, "Authorization": twice}).status_code >= 400


@pytest.mark.aws_fact
def test_an_upload_whose_content_is_not_what_was_signed_is_refused(web: WebApp, aws: httpx.Client) -> None:
    url = f"{str(aws.base_url).rstrip('/')}/{web.outputs['UploadsBucket']}/swapped.txt"
    headers = signed(web, "s3", url, b"what was signed", method="PUT")
    answer = aws.put(url, content=b"what was sent", headers=headers)
    assert (answer.status_code, "XAmzContentSHA256Mismatch" in answer.text) == (400, True), answer.text
    assert aws.put(url, content=b"what was signed", headers=headers).status_code == 200
    web.client("s3").delete_object(Bucket=web.outputs["UploadsBucket"], Key="swapped.txt")


@pytest.mark.aws_fact
def test_a_session_needs_its_secret_and_its_token(web: WebApp) -> None:
    session = web.client("sts").get_session_token()["Credentials"]
    key, secret, token = (session[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    assert client_with(web, "sts", key, secret, token).get_caller_identity()["Account"] == ACCOUNT
    assert (
        code_of(client_with(web, "sts", key, "guessed", token).get_caller_identity) == "SignatureDoesNotMatch"
    )
    assert code_of(client_with(web, "sts", key, secret).get_caller_identity) == "InvalidClientTokenId"
    assert (
        code_of(client_with(web, "sts", key, secret, "guessed").get_caller_identity) == "InvalidClientTokenId"
    )


def test_the_credentials_of_a_function_cannot_be_derived_from_its_name(web: WebApp) -> None:
    function = web.client("lambda").get_function_configuration(FunctionName=web.outputs["WebFunction"])
    digest = hashlib.sha256(f"{function['FunctionArn']}:{function['Role']}".encode()).hexdigest()
    guessed = (
        f"ASIA{digest[:16].upper()}",
        hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
    )
    with web.http(web.front_door) as page:
        assert page.get("/api/health").status_code == 200  # it has credentials from now on
    with pytest.raises(ClientError):
        client_with(web, "sts", *guessed).get_caller_identity()


@pytest.mark.aws_fact
def test_a_presigned_link_ends_and_opens_what_was_signed_only(web: WebApp, aws: httpx.Client) -> None:
    bucket = web.outputs["UploadsBucket"]
    web.client("s3").put_object(Bucket=bucket, Key="signed.txt", Body=b"yes")

    def link(secret: str, seconds: int) -> str:
        signer = client_with(web, "s3", ACCOUNT, secret, signature_version="s3v4")
        url = signer.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": "signed.txt"}, ExpiresIn=seconds
        )
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}"

    right = web.cloud.environment()["AWS_SECRET_ACCESS_KEY"]
    assert aws.get(link(right, 60)).text == "yes"
    assert "SignatureDoesNotMatch" in aws.get(link("guessed", 60)).text
    assert aws.get(link(right, 0)).status_code in (400, 403)
    assert aws.get(link(right, 60).replace("signed.txt", "other.txt")).status_code == 403
    assert aws.delete(link(right, 60)).status_code == 403


def test_a_form_without_a_signature_uploads_nothing(
    web: WebApp, page: httpx.Client, aws: httpx.Client
) -> None:
    bucket = web.outputs["UploadsBucket"]
    for client, path in ((page, f"/aws/s3/{bucket}"), (aws, f"/{bucket}")):
        answer = client.post(path, data={"key": "anonymous.txt"}, files={"file": ("a.txt", b"no")})
        assert answer.status_code == 403, answer.text
    assert web.client("s3").list_objects_v2(Bucket=bucket, Prefix="anonymous")["KeyCount"] == 0


@pytest.mark.parametrize("operation", ["AdminCreateUser", "CreateGroup", "ListUsers", "SignUp", "GetUser"])
def test_the_front_door_passes_the_operations_of_the_sign_in_only(web: WebApp, operation: str) -> None:
    answer = web.cognito(operation, {"UserPoolId": web.outputs["UserPoolId"], "GroupName": "forged"})
    assert (answer.status_code, "sign-in" in answer.text) == (403, True)


def test_the_sign_in_is_passed_as_json_only(web: WebApp, page: httpx.Client) -> None:
    """A form of another site cannot send JSON without asking first."""
    name, password = web.new_person()
    body = {
        "AuthFlow": "USER_PASSWORD_AUTH",
        "ClientId": web.outputs["UserPoolClientId"],
        "AuthParameters": {"USERNAME": name, "PASSWORD": password},
    }
    target = {"x-amz-target": f"{SIGN_IN}.InitiateAuth"}
    assert page.post("/aws/cognito-idp/", json=body, headers={**target, "content-type": JSON_TYPE}).is_success
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        answer = page.post(
            "/aws/cognito-idp/", content=json.dumps(body), headers={**target, "content-type": content_type}
        )
        assert answer.status_code >= 400


HOSTILE = [
    {"host": "rebound.example:{port}"},
    {"host": "localhost.rebound.example:{port}"},
    {"host": "localhost:1"},
    {"origin": "https://evil.example"},
    {"origin": "http://localhost:1"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
]


@pytest.mark.parametrize("headers", HOSTILE, ids=lambda one: " ".join(one.values()))
def test_what_another_site_sends_is_refused_at_both_ports(
    web: WebApp, page: httpx.Client, aws: httpx.Client, headers: dict[str, str]
) -> None:
    for client, port, paths in (
        (page, web.cloud.page_port, ("/", "/api/health", "/config.json")),
        (aws, web.cloud.port, ("/", "/_ministack/health", urlsplit(web.gateway).path + "/api/health")),
    ):
        sent = {name: value.format(port=port) for name, value in headers.items()}
        for path in paths:
            answer = client.get(path, headers=sent)
            assert answer.status_code == 403, (path, answer.text)
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_link_of_another_site_opens_the_page_but_calls_nothing(page: httpx.Client) -> None:
    click = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert page.get("/", headers=click).status_code == 200
    assert page.get("/api/health", headers=click).status_code == 403
    assert page.post("/", headers=click).status_code == 403


def test_no_answer_may_be_read_by_every_site(web: WebApp, page: httpx.Client, aws: httpx.Client) -> None:
    pool = web.outputs["UserPoolId"]
    answers = [
        page.get("/"),
        page.get("/api/health"),
        web.cognito("InitiateAuth", {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": "none"}),
        aws.get(f"/{pool}/.well-known/jwks.json"),
        aws.options("/"),
        aws.post("/", data={"Action": "ListStacks"}),
        aws.get("/_ministack/health"),
    ]
    assert [answer.headers.get("access-control-allow-origin") for answer in answers] == [None] * len(answers)


def test_what_a_link_opens_is_not_of_the_pages_origin(web: WebApp, page: httpx.Client) -> None:
    """On AWS it comes from the bucket's own host; a story with a script must not read the sign-in here."""
    bucket = web.outputs["UploadsBucket"]
    web.client("s3").put_object(
        Bucket=bucket, Key="story.html", Body=b"<script></script>", ContentType="text/html"
    )
    signed_link = urlsplit(
        web.client("s3", signature_version="s3v4").generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": "story.html"}
        )
    )
    answer = page.get(f"/aws/s3{signed_link.path}?{signed_link.query}")
    assert answer.status_code == 200
    policies = answer.headers["content-security-policy"]
    assert "sandbox" in policies
    assert "allow-same-origin" not in policies


@pytest.mark.skipif(not shutil.which("curl"), reason="curl signs requests by itself; it is not here")
@pytest.mark.parametrize(("key", "status"), [("right", "200"), ("guessed", "403")])
def test_another_signer_than_ours_is_understood(web: WebApp, key: str, status: str) -> None:
    environment = web.cloud.environment()
    secret = environment["AWS_SECRET_ACCESS_KEY"] if key == "right" else key
    done = subprocess.run(
        [
            *("curl", "--silent", "--noproxy", "*", "--cacert", environment["AWS_CA_BUNDLE"]),
            *("--aws-sigv4", f"aws:amz:{REGION}:sts", "--config", "-"),
            *("--data", "Action=GetCallerIdentity&Version=2011-06-15", "--write-out", "\n%{http_code}"),
            environment["AWS_ENDPOINT_URL"] + "/",
        ],
        input=f'user = "{ACCOUNT}:{secret}"\n',
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == status, done.stdout


def test_the_server_of_a_function_is_reached_by_its_user_only(web: WebApp, page: httpx.Client) -> None:
    """Past API Gateway's authorizer whoever reaches it says who they are."""
    assert page.get("/api/health").status_code == 200
    started = belonging_to(cloud_id(web.cloud.state))
    servers = [process for process in started if "main:app" in process.cmdline()]
    assert servers
    for server in servers:
        assert not [one for one in server.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        for socket in (Path(str(one.laddr)) for one in server.net_connections("unix") if one.laddr):
            assert stat.S_IMODE((Path(server.cwd()) / socket).parent.stat().st_mode) == 0o700


def test_a_distribution_that_is_not_there_is_no_way_to_a_bucket(aws: httpx.Client) -> None:
    answer = aws.get("/", headers={"host": "d0.cloudfront.net"})
    assert (answer.status_code, "Buckets" in answer.text) == (403, False)
