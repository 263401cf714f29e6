"""Proofs that the app is deployed, that its page is served, and that a person can sign in."""

from __future__ import annotations

import re

import httpx

from cli.api.connection import TIMEOUT
from cli.verify.outcome import NotProvenError, Proof
from cli.verify.verification import Verification
from contracts import statuses

_COMPLETE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
_BUDGET = "AWS::Budgets::Budget"
_UNAUTHORIZED = 401


def prove_deployment(verification: Verification) -> Proof:
    """Prove that every stack is complete, and that one of them has the budget."""
    formation = verification.client("cloudformation")
    kinds: list[str] = []
    stacks = verification.app.names.all_stacks
    for name in stacks:
        (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
        if stack["StackStatus"] not in _COMPLETE:
            raise NotProvenError(
                f"{name} is {stack['StackStatus']}: {stack.get('StackStatusReason', 'no reason is given')}",
                "Deploy again with `npx --no-install cdk deploy --all`; docs/deploying.md explains the "
                "messages.",
            )
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=name)
        kinds += [found["ResourceType"] for page in pages for found in page["StackResourceSummaries"]]
    if _BUDGET not in kinds:
        raise NotProvenError("The Operations stack has no budget, so no e-mail warns of the month's costs.")
    return Proof(
        f"{len(stacks)} stacks with {len(kinds)} resources in {verification.app.target.region}, a budget too"
    )


def prove_page(verification: Verification) -> Proof:
    """Prove that the printed address serves the page and its settings, with a strict policy."""
    answer = httpx.get(f"{verification.app.page_url}/", timeout=TIMEOUT)
    policy = answer.headers.get("content-security-policy", "")
    if answer.status_code != httpx.codes.OK or "<html" not in answer.text[:2000].lower():
        raise NotProvenError(f"{verification.app.page_url} answered {answer.status_code}.")
    if not verification.app.is_local and "default-src 'none'" not in policy:
        raise NotProvenError("The page has no content security policy.")
    verification.policy = policy
    config = httpx.get(f"{verification.app.page_url}/config.json", timeout=TIMEOUT).json()
    if config.get("user_pool_client_id") != verification.app.outputs["UserPoolClientId"]:
        raise NotProvenError("The page's config.json has another user pool client than the stack.")
    seconds = answer.elapsed.total_seconds()
    return Proof(f"the page came in {seconds:.2f} s over {answer.http_version}, with its policy and settings")


def prove_sign_in(verification: Verification) -> Proof:
    """Prove that a new user can sign in as on the page, and that the API requires a sign-in."""
    anonymous = httpx.get(f"{verification.app.page_url}/api/status", timeout=TIMEOUT)
    if anonymous.status_code != _UNAUTHORIZED:
        raise NotProvenError(f"Without a sign-in the API answered {anonymous.status_code}, not 401.")
    status = verification.api.status()
    verification.base_model = status["base_model"]["id"]
    verification.known_runs = {run["run_id"] for run in verification.api.runs()}
    verification.was_awake = status["hosting"]["status"] in {statuses.AWAKE, statuses.WAKING}
    if verification.was_awake:
        verification.bill.exclude_endpoint()
    verification.trains = status["live"] is None
    verification.run_id = "" if verification.trains else status["live"]["run_id"]
    return Proof("the API accepts Cognito's token; without one it answers 401")


def allows_connection(policy: str, url: str) -> bool:
    """Tell whether a content security policy allows the page's scripts to connect to an address."""
    directive = re.search(r"connect-src ([^;]*)", policy)
    target = httpx.URL(url)
    sources = (httpx.URL(source) for source in (directive[1].split() if directive else []) if "://" in source)
    return any((source.scheme, source.host) == (target.scheme, target.host) for source in sources)
