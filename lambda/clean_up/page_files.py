"""The files of the page. CloudFormation deletes their bucket, which must be empty by then.

The CDK's own deployment function leaves them: it empties no bucket that still has its tag, and a bucket that
is deleted with its stack has it to the end.
"""

from botocore.exceptions import ClientError

from clean_up.remaining import Remaining
from shared.aws import clients


def empty(bucket: str) -> list[Remaining]:
    """Delete everything in the page's bucket, which has no versions."""
    client = clients.s3()
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for page in pages:
            keys = [entry["Key"] for entry in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
    return []
