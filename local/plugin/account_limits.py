"""What AWS refuses an account: functions too large or too many, CloudFront before it is verified."""

from local.plugin import account_quotas, ministack_cloudfront, ministack_lambda


def install() -> None:
    """Hold the MiniStack of this process to the account's limits; SageMaker looks after its own quotas."""
    ministack_lambda.limit_memory(account_quotas.lambda_memory_mb)
    ministack_lambda.limit_concurrency(lambda: int(account_quotas.lambda_concurrency().value))
    ministack_cloudfront.require_verified_account(lambda: account_quotas.current().cloudfront_verified)
