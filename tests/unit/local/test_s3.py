"""A list of versions holds every key, also one that XML cannot: boto3 asks for encoded keys, and decodes."""

import pytest
from botocore.handlers import decode_list_object_versions
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from ministack.services import s3

from local.aws.services import s3 as local_s3

KEYS = ["a\x1b[2J.txt", "a\nb.txt", "\u202etxt.exe", "100% + 1&2.txt", "tales/ü.txt", "a\x01.txt"]


@pytest.mark.aws_fact
def test_every_key_comes_back_as_it_was_put(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_list_object_versions", "_xml_body"):
        monkeypatch.setattr(s3, name, getattr(s3, name))
    local_s3.encode_keys_of_versions()
    bucket = "version-lists"
    s3._create_bucket(bucket, b"", {})
    for key in KEYS:
        s3._put_object(bucket, key, b"Once", {})
    status, headers, body = s3._list_object_versions(bucket, {"encoding-type": ["url"]})
    # botocore's own parser and decoder are the judges.
    model = ServiceModel(Loader().load_service_model("s3", "service-2"), "s3")
    shape = model.operation_model("ListObjectVersions").output_shape
    assert shape is not None
    answer = create_parser("rest-xml").parse({"status_code": status, "headers": headers, "body": body}, shape)
    decode_list_object_versions(answer, {"encoding_type_auto_set": True})
    assert sorted(version["Key"] for version in answer["Versions"]) == sorted(KEYS)


def test_who_does_not_ask_gets_plain_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_list_object_versions", "_xml_body"):
        monkeypatch.setattr(s3, name, getattr(s3, name))
    local_s3.encode_keys_of_versions()
    s3._create_bucket("plain-lists", b"", {})
    s3._put_object("plain-lists", "tales/ü.txt", b"Once", {})
    assert "tales/ü.txt".encode() in s3._list_object_versions("plain-lists", {})[2]
