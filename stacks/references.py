"""What one stack tells another: named outputs, read with a weak reference.

See docs/decisions/0002-cross-stack-references.md.
"""

from dataclasses import dataclass

from aws_cdk import Aws, CfnOutput, Fn, Stack

from contracts.settings import Settings


def publish(stack: Stack, key: str, value: str, description: str) -> None:
    """Make a value an output of a stack, under exactly this key."""
    CfnOutput(stack, key, value=value, description=description)


def published(producer: Stack, consumer: Stack, key: str) -> str:
    """Read an output of another stack, which is deployed first."""
    consumer.add_stack_dependency(producer)
    return Fn.get_stack_output(producer.stack_name, key)


def page_url_parameter(settings: Settings) -> str:
    """Name of the Systems Manager parameter with the page's address.

    The Chat stack, which makes the page, is deployed after the Pipeline stack, whose messages name it: so the
    address is read when a message is sent. It is written after the keeper's timer and deleted before it, so
    without it nothing would put an endpoint to sleep (`lambda/shared/aws/chat_stack.py`).
    """
    return f"/{settings.name}/page-url"


@dataclass(frozen=True)
class Storage:
    """Names of what the Storage stack keeps, as another stack sees them."""

    stories_bucket: str
    artifacts_bucket: str
    table: str

    @property
    def table_arn(self) -> str:
        """ARN of the table."""
        return f"arn:{Aws.PARTITION}:dynamodb:{Aws.REGION}:{Aws.ACCOUNT_ID}:table/{self.table}"

    @property
    def stories_arn(self) -> str:
        """ARN of the stories bucket."""
        return f"arn:{Aws.PARTITION}:s3:::{self.stories_bucket}"

    @property
    def artifacts_arn(self) -> str:
        """ARN of the artifacts bucket."""
        return f"arn:{Aws.PARTITION}:s3:::{self.artifacts_bucket}"

    def stories(self, keys: str = "*") -> str:
        """ARN of some objects of the stories bucket."""
        return f"{self.stories_arn}/{keys}"

    def artifacts(self, keys: str) -> str:
        """ARN of some objects of the artifacts bucket, such as `artifacts("runs/*")`."""
        return f"{self.artifacts_arn}/{keys}"
