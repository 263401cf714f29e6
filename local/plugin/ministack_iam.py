"""The part of `ministack_adapter` for IAM's simulator: whom it knows, and all resources it is asked about."""

from collections.abc import Iterator
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam

from local.environment import ACCOUNT

Parameters = dict[str, Any]


def simulate_strictly() -> None:
    """Simulate for users and roles only, for each resource that is named, as AWS does.

    MiniStack denies everything to unknown principals, and looks at the first resource only.
    """
    iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = _simulate


def _simulate(parameters: Parameters) -> Any:
    source = str(iam._p(parameters, "PolicySourceArn"))
    resource = source.rpartition(":")[2]
    kind, name = resource.partition("/")[0], resource.rpartition("/")[2]
    known = {"user": iam._users, "role": iam._roles}
    if source.split(":")[2:3] != ["iam"] or kind not in known:
        message = f"Invalid Entity Arn: {source} does not clearly define entity type and name."
        return iam._error(400, "InvalidInput", message, ns="iam")
    if name not in known[kind]:
        return iam._error(404, "NoSuchEntity", f"The {kind} with name {name} cannot be found.", ns="iam")
    of_role = kind == "role"
    gather = iam_evaluator._gather_role_policies if of_role else iam_evaluator._gather_user_policies
    policies = gather(name, ACCOUNT)
    actions = list(_members(parameters, "ActionNames"))
    results = "".join(
        iam._build_simulate_results_real(actions, one, source, ACCOUNT, policies)
        for one in list(_members(parameters, "ResourceArns")) or ["*"]
    )
    body = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
    return iam._xml(
        200,
        "SimulatePrincipalPolicyResponse",
        f"<SimulatePrincipalPolicyResult>{body}</SimulatePrincipalPolicyResult>",
        ns="iam",
    )


def _members(parameters: Parameters, name: str) -> Iterator[str]:
    number = 1
    while value := iam._p(parameters, f"{name}.member.{number}"):
        yield str(value)
        number += 1
