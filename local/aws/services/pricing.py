"""The Price List API: what SageMaker's instances cost, as JSON in strings, by region and kind.

The prices are those of the file `prices.json` in the state folder, the same for every region:
`{"date": "2026-09-27", "instances": [{"instance": "ml.g5.xlarge", "usd_per_hour": 1.41, "kinds": […]}]}`.
Without the file there are none.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from local.aws.cloud_environment import CloudFolders
from local.aws.errors import AwsError
from local.aws.service_handlers import Response, register_service
from local.aws.service_models import operation, validate
from local.aws.services.iam import Denied, authorize_request

Record = dict[str, Any]

SERVICE = "pricing"
PAGE = 100
"""Products that an answer holds at most, unless the request asks for fewer."""
COMPONENTS = {
    "training": ("Training", "Train"),
    "processing": ("Processing", "Processing"),
    "hosting": ("Hosting", "Host"),
    "transform": ("BatchTransform", "Tsform"),
    "notebook": ("Notebook", "Notebk"),
}
"""What the list calls each kind: in `component`, and at the beginning of a usage type."""


def install() -> None:
    """Make MiniStack answer for the Price List API."""
    register_service(SERVICE, _handle, ["AWSPriceListService."])


def get_products(request: Record) -> Record:
    """Answer GetProducts. Raises `AwsError`."""
    if request["ServiceCode"] != "AmazonSageMaker":
        raise AwsError("NotFoundException", "The local price list has SageMaker only.")
    wanted = {one["Field"]: one["Value"] for one in request.get("Filters", [])}
    others = [one["Type"] for one in request.get("Filters", []) if one["Type"] != "TERM_MATCH"]
    if others:
        raise AwsError("InvalidParameterException", f"The local price list has no filter {others[0]} yet.")
    region = wanted.get("regionCode", "us-east-1")
    found = [
        json.dumps(product)
        for product in _products(region)
        if all(_matches(product["product"]["attributes"], field, value) for field, value in wanted.items())
    ]
    start = _start(request.get("NextToken"))
    end = start + request.get("MaxResults", PAGE)
    more = {"NextToken": base64.b64encode(str(end).encode()).decode()} if end < len(found) else {}
    return {"FormatVersion": "aws_v1", "PriceList": found[start:end], **more}


def _matches(attributes: dict[str, str], field: str, value: str) -> bool:
    """Compare without regard to case, as AWS does."""
    return attributes.get(field, "").lower() == value.lower()


def _listed() -> Record:
    try:
        listed: Record = json.loads(CloudFolders.of_this_cloud().prices.read_text())
    except FileNotFoundError:
        return {"date": "2026-01-01", "instances": []}
    return listed


def _products(region: str) -> Iterator[Record]:
    listed = _listed()
    for row in listed["instances"]:
        for kind in row["kinds"]:
            component, usage = COMPONENTS[kind]
            sku = sha256(f"{region} {kind} {row['instance']}".encode()).hexdigest()[:16].upper()
            rate = f"{sku}.JRTCKXETXF"
            dimension = {
                "unit": "Hrs",
                "endRange": "Inf",
                "beginRange": "0",
                "description": f"${row['usd_per_hour']} per {component} {row['instance']} hour in {region}",
                "appliesTo": [],
                "rateCode": f"{rate}.6YS6EN2CT7",
                "pricePerUnit": {"USD": f"{row['usd_per_hour']:.10f}"},
            }
            terms = {
                "priceDimensions": {dimension["rateCode"]: dimension},
                "sku": sku,
                "effectiveDate": f"{listed['date']}T00:00:00Z",
                "offerTermCode": "JRTCKXETXF",
                "termAttributes": {},
            }
            yield {
                "product": {
                    "productFamily": "ML Instance",
                    "sku": sku,
                    "attributes": {
                        "servicecode": "AmazonSageMaker",
                        "servicename": "Amazon SageMaker",
                        "regionCode": region,
                        "locationType": "AWS Region",
                        "instanceName": row["instance"],
                        "instanceType": f"{row['instance']}-{component}",
                        "component": component,
                        "platoinstancetype": component,
                        "usagetype": f"{usage}:{row['instance']}",
                        "operation": "RunInstance",
                    },
                },
                "serviceCode": "AmazonSageMaker",
                "terms": {"OnDemand": {rate: terms}},
                "version": listed["date"].replace("-", "") + "000000",
                "publicationDate": f"{listed['date']}T00:00:00Z",
            }


async def _handle(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> Response:
    """Answer an HTTP request (JSON 1.1, `X-Amz-Target: AWSPriceListService.<Operation>`)."""
    name = headers.get("x-amz-target", "").partition(".")[2]
    try:
        operation(name, SERVICE)
        authorize_request(headers, query, f"{SERVICE}:{name}", "*")
        if name != "GetProducts":
            raise AwsError("InvalidParameterException", f"The local price list does not have {name} yet.")
        return _json(200, get_products(_validated(name, json.loads(body or b"{}"))))
    except AwsError as error:
        return _json(error.status, {"__type": error.code, "Message": error.message}, error.code)
    except Denied as denied:
        message = {"__type": "AccessDeniedException", "Message": denied.message}
        return _json(400, message, "AccessDeniedException")


def _validated(name: str, request: Record) -> Record:
    try:
        validate(name, request, SERVICE)
    except AwsError as invalid:
        raise AwsError("InvalidParameterException", invalid.message) from invalid
    return request


def _json(status: int, content: Record, error: str = "") -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1", **({"x-amzn-errortype": error} if error else {})}
    return status, headers, json.dumps(content).encode()


def _start(token: str | None) -> int:
    try:
        return int(base64.b64decode(token, validate=True)) if token else 0
    except (ValueError, binascii.Error) as error:
        raise AwsError("InvalidNextTokenException", "The pagination token is invalid.") from error
