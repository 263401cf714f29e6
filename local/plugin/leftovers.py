"""Has MiniStack leave behind what AWS's services leave, and what a failed deletion leaves.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html: with execution logging on,
API Gateway makes a log group that belongs to no stack and never expires.
"""

from typing import Any

from local.plugin import ministack_cloudformation, ministack_logs


def install() -> None:
    """Add this to the MiniStack of this process."""
    ministack_cloudformation.keep_dependencies_of_failures()
    ministack_cloudformation.keep_failures_of_rollbacks()
    ministack_cloudformation.after_creating("AWS::ApiGateway::Stage", _log_executions)
    ministack_cloudformation.after_creating("AWS::S3::Bucket", _tag)
    ministack_cloudformation.before_deleting("AWS::S3::Bucket", _refuse_full_bucket)
    ministack_logs.name_deleted_streams()


def _tag(bucket: str, properties: dict[str, Any]) -> None:
    """Give a bucket the tags of its template: CDK's deployment function decides by one of them."""
    ministack_cloudformation.tag_bucket(
        bucket, {tag["Key"]: tag["Value"] for tag in properties.get("Tags") or []}
    )


def _refuse_full_bucket(bucket: str) -> None:
    if not ministack_cloudformation.is_empty(bucket):
        raise ValueError(
            "The bucket you tried to delete is not empty (Service: S3, Status Code: 409, BucketNotEmpty)"
        )


def _log_executions(name: str, stage: dict[str, Any]) -> None:
    levels = {setting.get("LoggingLevel", "OFF") for setting in stage.get("MethodSettings") or []}
    if levels - {"OFF"}:
        ministack_logs.ensure_log_group(
            f"API-Gateway-Execution-Logs_{stage['RestApiId']}/{stage['StageName']}"
        )
