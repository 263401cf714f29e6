"""The part of `ministack_adapter` for CloudFront: what an account may not create until it is verified."""

from collections.abc import Callable
from typing import Any

from ministack.services import cloudfront

from local.plugin.ministack_cloudformation import before_creating

DISTRIBUTION = "AWS::CloudFront::Distribution"
_REFUSAL = (
    "Your account must be verified before you can add new CloudFront resources. To verify your account, "
    "please contact AWS Support (https://console.aws.amazon.com/support/home#/) and include this error "
    "message."
)


def require_verified_account(is_verified: Callable[[], bool]) -> None:
    """Refuse distributions as long as the account is not verified, also those that CloudFormation makes."""
    create = cloudfront._create_distribution

    def create_distribution(headers: dict[str, str], body: bytes) -> Any:
        if is_verified():
            return create(headers, body)
        return cloudfront._error("AccessDenied", _REFUSAL, 403)

    cloudfront._create_distribution = create_distribution
    before_creating(
        DISTRIBUTION,
        lambda *_: None if is_verified() else f"Access denied for operation '{DISTRIBUTION}: {_REFUSAL}'.",
    )
