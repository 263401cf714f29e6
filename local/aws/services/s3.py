"""S3: lists of buckets and of versions, and buckets that CloudFormation creates and deletes.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

from contextvars import ContextVar
from typing import Any
from xml.etree import ElementTree

from ministack.services import s3
from ministack.services.cloudformation import provisioners

from local.aws.services.cloudformation import after_creating

_PARAMETERS = {"prefix", "bucket-region", "max-buckets", "continuation-token"}
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_KEYS = {"Key", "KeyMarker", "NextKeyMarker", "Prefix", "Delimiter"}
_encoded: ContextVar[bool] = ContextVar("encoded", default=False)


def install() -> None:
    """Change S3 in this process's MiniStack."""
    give_regions_only_if_asked()
    encode_keys_of_versions()
    after_creating("AWS::S3::Bucket", _tag_bucket)
    refuse_to_delete_full_buckets()


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


def _tag_bucket(bucket: str, properties: dict[str, Any]) -> None:
    """Give a bucket the tags of its template: CDK's deployment function decides by one of them."""
    s3._bucket_tags[bucket] = {tag["Key"]: tag["Value"] for tag in properties.get("Tags") or []}


def refuse_to_delete_full_buckets() -> None:
    """Fail the deletion of a bucket that holds anything, when CloudFormation deletes it too."""
    kind = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    delete = kind["delete"]

    def delete_bucket(name: str, properties: dict[str, Any]) -> None:
        bucket = s3._buckets.get(name)
        if bucket and (bucket["objects"] or s3._bucket_has_versions(name)):
            raise ValueError(
                'Resource handler returned message: "The bucket you tried to delete is not empty. You must '
                'delete all versions in the bucket. (Service: S3, Status Code: 409)"'
            )
        delete(name, properties)

    kind["delete"] = delete_bucket
