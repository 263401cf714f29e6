"""What stacks share: named outputs, which another stack reads by weak references, and names made of them.

See docs/decisions/0002-cross-stack-references.md.
"""

from dataclasses import dataclass

from aws_cdk import Aws, CfnOutput, Fn, Stack

# The page's content security policy lets the browser reach the stories bucket at this host, and the API signs
# its upload forms and links for the same one. boto3 by itself signs for the global host in us-east-1, and
# without virtual addressing in every region. For up to a day that host answers a new bucket with a redirect,
# which browsers do not follow with a form; for regions opened since March 2019 it answers 400:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
_S3_HOST = f"s3.{Aws.REGION}.{Aws.URL_SUFFIX}"

S3_ENDPOINT = f"https://{_S3_HOST}"
"""S3's endpoint in the app's region."""


def publish(stack: Stack, key: str, value: str, description: str) -> None:
    """Add an output with exactly this key to a stack."""
    CfnOutput(stack, key, value=value, description=description)


def published(producer: Stack, consumer: Stack, key: str) -> str:
    """Return an output of another stack, which is then deployed first."""
    consumer.add_stack_dependency(producer)
    return Fn.get_stack_output(producer.stack_name, key)


@dataclass(frozen=True)
class Storage:
    """The Storage stack's buckets and table, by name, in another stack."""

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
    def stories_url(self) -> str:
        """Address of the stories bucket, without a slash at its end."""
        return f"https://{self.stories_bucket}.{_S3_HOST}"

    @property
    def artifacts_arn(self) -> str:
        """ARN of the artifacts bucket."""
        return f"arn:{Aws.PARTITION}:s3:::{self.artifacts_bucket}"

    def stories(self, keys: str = "*") -> str:
        """Return the ARN of objects of the stories bucket."""
        return f"{self.stories_arn}/{keys}"

    def artifacts(self, keys: str) -> str:
        """Return the ARN of objects of the artifacts bucket, such as `artifacts("runs/*")`."""
        return f"{self.artifacts_arn}/{keys}"
