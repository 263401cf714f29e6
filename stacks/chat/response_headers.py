"""The security headers that CloudFront sets on the page and on the API's responses."""

from aws_cdk import Duration
from aws_cdk import aws_cloudfront as cloudfront


def security_headers(content_security_policy: str) -> cloudfront.ResponseSecurityHeadersBehavior:
    """Return the security headers, each of which replaces the origin's.

    Args:
        content_security_policy: what a browser may do with the response.
    """
    return cloudfront.ResponseSecurityHeadersBehavior(
        content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
            content_security_policy=content_security_policy, override=True
        ),
        content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
        frame_options=cloudfront.ResponseHeadersFrameOptions(
            frame_option=cloudfront.HeadersFrameOption.DENY, override=True
        ),
        referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
            referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
        ),
        strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
            access_control_max_age=Duration.days(365), include_subdomains=True, override=True
        ),
    )
