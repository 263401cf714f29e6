"""The part of `ministack_adapter` for S3's lists of buckets and of versions."""

from contextvars import ContextVar
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


_KEYS = {"Key", "KeyMarker", "NextKeyMarker", "Prefix", "Delimiter"}
_encoded: ContextVar[bool] = ContextVar("encoded", default=False)


def encode_keys_of_versions() -> None:
    """Let ListObjectVersions encode keys if the request asks for it: XML cannot hold all of them."""
    list_versions, write = s3._list_object_versions, s3._xml_body

    def answer(bucket: str, query: dict[str, Any]) -> Any:
        token = _encoded.set(s3._qp(query, "encoding-type", "") == "url")
        try:
            return list_versions(bucket, query)
        finally:
            _encoded.reset(token)

    def xml_body(root: Any) -> Any:
        if _encoded.get() and root.tag == "ListVersionsResult":
            for element in root.iter():
                if element.tag in _KEYS and element.text:
                    element.text = s3._url_encode(element.text)
            s3.SubElement(root, "EncodingType").text = "url"
        return write(root)

    s3._list_object_versions, s3._xml_body = answer, xml_body
