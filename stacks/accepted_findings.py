"""Findings of checkov that were reviewed and accepted, each with its reason.

The reasons are written into the metadata of the resources, where checkov reads them. So checkov on `cdk.out`
reports the same exceptions with the same reasons. A finding that is not accepted here fails
tests/templates/test_checkov.py.
"""

from collections.abc import Mapping

from aws_cdk import CfnResource
from constructs import IConstruct

_OWN_KEY = (
    "a customer's key costs a dollar a month, and whoever may read the data could use it; "
    "the data is encrypted with AWS's key"
)
_ACCESS_LOG = (
    "an access log is one more bucket that grows and costs: API Gateway logs every call, "
    "and CloudTrail data events can be turned on for an audit"
)

LOG_GROUP = {"CKV_AWS_158": _OWN_KEY}
TABLE = {"CKV_AWS_119": _OWN_KEY}
BUCKET = {"CKV_AWS_18": _ACCESS_LOG}
REPRODUCIBLE_BUCKET = {
    "CKV_AWS_21": "everything in this bucket can be produced again, and other content has another key",
}
FUNCTION = {
    "CKV_AWS_115": "a new account's whole concurrency is 10, of which none can be reserved",
    "CKV_AWS_116": "failures are in the run's record and set off an alarm; nobody would read a queue of them",
    "CKV_AWS_117": "it calls only AWS's APIs; a VPC needs an endpoint for each, which costs more than the "
    "app at rest",
    "CKV_AWS_173": f"no variable is a secret, as a test checks, and {_OWN_KEY}",
}
BASE_MODEL = {
    "CKV_AWS_45": "the base model's revision, a commit of a public repository, is as long as a secret key",
}
STAGE_FINDINGS = {
    "CKV_AWS_73": "each trace would cost something; the access log has the time of each part",
    "CKV_AWS_120": "responses must not come from a cache: they are private and change",
}
OPEN_METHOD = {"CKV_AWS_59": "the health check says only that the API is up"}
TOPIC = {
    "CKV_AWS_26": "CloudWatch's alarms cannot publish to a topic with AWS's key; a customer's key costs a "
    "dollar a month, and the messages name runs and no story's text",
}
DISTRIBUTION = {
    "CKV_AWS_68": "a web ACL costs more a month than the app at rest; requests are throttled and signed in",
    "CKV_AWS_86": _ACCESS_LOG,
    "CKV_AWS_174": "CloudFront fixes the TLS of its own domain name; a minimum needs another domain",
}


def accept_findings(construct: IConstruct, *findings: Mapping[str, str]) -> None:
    """Write accepted findings into the metadata of a construct's resource."""
    resource = construct.node.default_child or construct
    assert isinstance(resource, CfnResource)  # noqa: S101 - for the type checker
    skipped = [
        {"id": check, "comment": reason} for accepted in findings for check, reason in accepted.items()
    ]
    resource.add_metadata("checkov", {"skip": skipped})
