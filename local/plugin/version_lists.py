"""Lists of versions as S3 gives them: encoded if asked, so that every key comes back as it was put.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

from local.plugin import ministack_buckets


def install() -> None:
    """Add this to the MiniStack of this process."""
    ministack_buckets.encode_keys_of_versions()
