"""The host that S3 has in the app's region: the one place that names it.

The page's content security policy lets the browser reach the stories bucket at this host, and the API makes
its upload forms and links for the same one: it gets `S3_ENDPOINT` as an environment variable. boto3 by itself
signs for the global host in us-east-1, and without virtual addressing in every region. For up to a day that
host answers a new bucket with a redirect, which browsers do not follow with a form; for regions opened since
March 2019 it answers 400: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from aws_cdk import Aws

_HOST = f"s3.{Aws.REGION}.{Aws.URL_SUFFIX}"

S3_ENDPOINT = f"https://{_HOST}"
"""Where the region's S3 answers."""


def bucket_url(bucket: str) -> str:
    """Return where a bucket of the app answers, without a slash at the end."""
    return f"https://{bucket}.{_HOST}"
