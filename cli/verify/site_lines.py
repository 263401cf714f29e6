"""Proofs that the app is deployed, that its page comes, and that a person can sign in."""

from __future__ import annotations

import re

import httpx

from cli.connection import TIMEOUT
from cli.verify.outcome import NotProvenError, Proof
from cli.verify.world import STACKS, World

_COMPLETE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
_BUDGET = "AWS::Budgets::Budget"
_UNAUTHORIZED = 401


def prove_deployment(world: World) -> Proof:
    """Prove that every stack is complete, and that the budget which mails is among their resources."""
    formation = world.client("cloudformation")
    kinds: list[str] = []
    for part in STACKS:
        name = world.app.stack(part)
        (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
        if stack["StackStatus"] not in _COMPLETE:
            raise NotProvenError(
                f"{name} is {stack['StackStatus']}: {stack.get('StackStatusReason', 'no reason is given')}",
                "Deploy again with `npx cdk deploy --all`; docs/deploying.md says what helps.",
            )
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=name)
        kinds += [found["ResourceType"] for page in pages for found in page["StackResourceSummaries"]]
    if _BUDGET not in kinds:
        raise NotProvenError("The Operations stack has no budget, so nothing mails what the month costs.")
    return Proof(
        f"{len(STACKS)} stacks with {len(kinds)} resources in {world.app.target.region}, a budget too"
    )


def prove_page(world: World) -> Proof:
    """Prove that the page and its settings come from the printed address, with a strict policy."""
    answer = httpx.get(f"{world.app.page_url}/", timeout=TIMEOUT)
    policy = answer.headers.get("content-security-policy", "")
    if answer.status_code != httpx.codes.OK or "<html" not in answer.text[:2000].lower():
        raise NotProvenError(f"{world.app.page_url} answered {answer.status_code}.")
    if not world.app.is_local and "default-src 'none'" not in policy:
        raise NotProvenError("The page came without its content security policy.")
    world.policy = policy
    config = httpx.get(f"{world.app.page_url}/config.json", timeout=TIMEOUT).json()
    if config.get("user_pool_client_id") != world.app.outputs["UserPoolClientId"]:
        raise NotProvenError("The page's config.json names another user pool client than the stack.")
    seconds = answer.elapsed.total_seconds()
    return Proof(f"the page came in {seconds:.2f} s over {answer.http_version}, with its policy and settings")


def prove_sign_in(world: World) -> Proof:
    """Prove that a new person signs in as on the page, and that the API refuses without a sign-in."""
    anonymous = httpx.get(f"{world.app.page_url}/api/status", timeout=TIMEOUT)
    if anonymous.status_code != _UNAUTHORIZED:
        raise NotProvenError(f"Without a sign-in the API answered {anonymous.status_code}, not 401.")
    status = world.api.status()
    world.base_model = status["base_model"]["id"]
    world.known_runs = {run["run_id"] for run in world.api.runs()}
    world.was_awake = status["hosting"]["status"] in {"awake", "waking"}
    if world.was_awake:
        world.bill.leave_out_endpoint()
    world.trains = status["live"] is None
    world.run_id = "" if world.trains else status["live"]["run_id"]
    return Proof("Cognito gave a token that the API takes; without one it answers 401")


def allows_connection(policy: str, url: str) -> bool:
    """Say whether a content security policy lets the page's scripts send something to an address."""
    directive = re.search(r"connect-src ([^;]*)", policy)
    target = httpx.URL(url)
    sources = (httpx.URL(source) for source in (directive[1].split() if directive else []) if "://" in source)
    return any((source.scheme, source.host) == (target.scheme, target.host) for source in sources)
