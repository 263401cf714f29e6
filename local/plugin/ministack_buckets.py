"""The part of `ministack_adapter` for S3's list of buckets."""

from typing import Any
from xml.etree import ElementTree

from ministack.services import s3

_PARAMETERS = {"prefix", "bucket-region", "max-buckets", "continuation-token"}
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def give_regions_only_if_asked() -> None:
    """Answer ListBuckets without regions unless the request has a parameter, as S3 does."""
    list_buckets = s3._list_buckets

    def answer(query: dict[str, Any] | None = None, *more: Any, **named: Any) -> Any:
        status, headers, body = list_buckets(query, *more, **named)
        if status == 200 and not _PARAMETERS & set(query or {}):
            ElementTree.register_namespace("", _NAMESPACE.strip("{}"))
            root = ElementTree.fromstring(body)  # noqa: S314 - MiniStack's own answer
            for bucket in root.iter(f"{_NAMESPACE}Bucket"):
                for region in bucket.findall(f"{_NAMESPACE}BucketRegion"):
                    bucket.remove(region)
            body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        return status, headers, body

    s3._list_buckets = answer
