"""What AWS refuses an account: functions that are too large, or too many at once."""

from local.plugin import account_quotas, ministack_lambda


def install() -> None:
    """Hold the MiniStack of this process to the account's limits; SageMaker looks after its own quotas."""
    ministack_lambda.limit_memory(account_quotas.lambda_memory_mb)
    ministack_lambda.limit_concurrency(lambda: int(account_quotas.lambda_concurrency().value))
