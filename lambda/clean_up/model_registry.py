"""The versions in the Model Registry. CloudFormation deletes their group, which must be empty by then."""

from botocore.exceptions import ClientError

from clean_up.remaining import Remaining, is_missing
from contracts import environment
from shared.aws import clients


def delete_packages() -> list[Remaining]:
    """Delete the model packages of the app's group."""
    client = clients.sagemaker()
    group = environment.common().name
    pages = client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    try:
        packages = [
            package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]
        ]
        for package in packages:
            client.delete_model_package(ModelPackageName=package)
    except ClientError as error:
        if not is_missing(error):
            raise
    return []
