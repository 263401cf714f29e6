"""Check before a training is paid for that the model can be hosted: the Chat stack, money and quotas."""

from typing import Any, NamedTuple

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from contracts import environment
from shared.aws import chat_stack, clients
from shared.runs import run_records
from shared.spending import run_costs
from shared.spending.spending_refused import SpendingRefused

_SERVICE = "sagemaker"
log = Logger(service="preflight")

_CONSOLE = "https://{region}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"


class RequiredQuota(BaseModel):
    """A quota that a run needs (`stacks/quotas.py`)."""

    model_config = ConfigDict(frozen=True)

    name: str
    minimum: int
    purpose: str
    stands_in_for: str = ""
    """Name of the quota that this one can replace; empty if there is none."""


class Quota(NamedTuple):
    """The account's quota."""

    value: float
    code: str


def read_quotas(client: Any, names: set[str]) -> dict[str, Quota]:
    """Read the quotas with these names, as far as AWS lists them.

    In some accounts `ListServiceQuotas` omits quotas that have their default value. Those are read from the
    list of defaults.
    """
    found: dict[str, Quota] = {}
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        if names <= found.keys():
            break
        for page in client.get_paginator(operation).paginate(ServiceCode=_SERVICE):
            for quota in page["Quotas"]:
                if quota["QuotaName"] in names:
                    found.setdefault(quota["QuotaName"], Quota(quota["Value"], quota["QuotaCode"]))
    return found


def unmet_quotas(needs: list[RequiredQuota], quotas: dict[str, Quota]) -> list[RequiredQuota]:
    """List the quotas that are too low, and that no other quota replaces.

    A quota that AWS does not list counts as met.
    """

    def met(need: RequiredQuota) -> bool:
        return need.name not in quotas or quotas[need.name].value >= need.minimum

    instead = {need.stands_in_for for need in needs if need.stands_in_for and met(need)}
    return [need for need in needs if not need.stands_in_for and not met(need) and need.name not in instead]


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Check the Chat stack, the month's limit and the account's quotas.

    A check that cannot be read does not stop the run.

    Args:
        event: `{"run_id", "estimate"}`; the estimate as `Assemble` returned it.
        context: Lambda's.

    Returns:
        `{"enough", "message"}`; the message says what is missing, such as quotas, and how to get it.
    """
    run_id = event["run_id"]
    run_records.enter(run_id, "Preflight", "Checking the account's quotas and the month's limit.")
    if not _is_chat_deployed(run_id):
        return {"enough": False, "message": chat_stack.run_refusal()}
    try:
        run_costs.require_budget_for_run(float(event["estimate"]["training_minutes"]))
    except SpendingRefused as refusal:
        words = f"The run ended before its training, and nothing was spent on a GPU. {refusal} {refusal.cure}"
        return {"enough": False, "message": words}
    needs = [RequiredQuota.model_validate(need) for need in environment.read(environment.QuotaCheck).quotas]
    try:
        quotas = read_quotas(clients.service_quotas(), {need.name for need in needs})
    except (ClientError, BotoCoreError) as error:
        log.warning(
            "The quotas could not be read; the run continues", extra={"run_id": run_id}, exc_info=error
        )
        return {"enough": True, "message": ""}
    short = unmet_quotas(needs, quotas)
    log.info("Checked the quotas", extra={"run_id": run_id, "short": [need.name for need in short]})
    return {"enough": not short, "message": _message(short, quotas) if short else ""}


def _is_chat_deployed(run_id: str) -> bool:
    try:
        return chat_stack.is_deployed()
    except (ClientError, BotoCoreError) as error:
        log.warning(
            "Could not check the Chat stack; the run continues", extra={"run_id": run_id}, exc_info=error
        )
        return True


def _message(short: list[RequiredQuota], quotas: dict[str, Quota]) -> str:
    region = clients.service_quotas().meta.region_name
    lines = [
        "The account's quotas do not allow the instances that this run needs, so it ended before its "
        "training: nothing was spent on a GPU. Too low in AWS's Service Quotas:"
    ]
    for need in short:
        quota = quotas[need.name]
        page = f"{_CONSOLE.format(region=region)}/{quota.code}"
        lines += [
            f"- {need.name}: {quota.value:g}, and {need.minimum} is needed for {need.purpose}. "
            f"Ask for more at {page} or with: aws service-quotas request-service-quota-increase "
            f"--service-code sagemaker --quota-code {quota.code} --desired-value {need.minimum} "
            f"--region {region}"
        ]
    lines.append("AWS answers within hours or days. Then start a run: storyloom start")
    return "\n".join(lines)
