"""What shows in which region a thing is: the list of buckets may, the tags of IAM's roles do not.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html and
https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1159
"""

from local.plugin import ministack_buckets, ministack_cloudformation


def install() -> None:
    """Add this to the MiniStack of this process."""
    ministack_buckets.give_regions_only_if_asked()
    ministack_cloudformation.tag_no_identities()
