"""What SageMaker deletes, what it refuses to delete, and which tags show whose a thing is."""

from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from cli.aws.target import AwsTarget
from cli.removal import regional_buckets, stack_deletion
from cli.removal.stack_deletion import StackDeletion
from contracts.resource_names import AppNames
from tests.local.sagemaker.conftest import Aws, until
from tests.local.sagemaker.test_endpoints import _config, _settled, _until_gone
from tests.local.sagemaker.test_tuning import _ended, _request, trial_code

pytestmark = pytest.mark.cloud

__all__ = ["trial_code"]
TAGS = [{"Key": "storyloom:app", "Value": "storyloom"}]


@pytest.mark.aws_fact
def test_an_endpoint_cannot_be_deleted_while_it_is_created(aws: Aws, job_role: str) -> None:
    name = f"endpoint-{uuid4().hex[:8]}"
    sagemaker = aws.client("sagemaker")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=_config(aws, job_role, "soon"))
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName=name)
    _settled(aws, name)
    sagemaker.delete_endpoint(EndpointName=name)
    _until_gone(aws, name)


@pytest.mark.aws_fact
def test_a_job_can_be_deleted_once_it_has_ended(aws: Aws, job_role: str) -> None:
    sagemaker = aws.client("sagemaker")
    name = aws.training_job(job_role, {"seconds": "30"})
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.delete_training_job(TrainingJobName=name)
    sagemaker.stop_training_job(TrainingJobName=name)
    assert aws.ended(name)["TrainingJobStatus"] == "Stopped"
    sagemaker.delete_training_job(TrainingJobName=name)
    assert sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"] == []
    assert not hasattr(sagemaker, "delete_transform_job"), "SageMaker has no such operation"


@pytest.mark.aws_fact
def test_trials_carry_the_tags_of_their_search(aws: Aws, job_role: str, trial_code: None) -> None:
    sagemaker, request = aws.client("sagemaker"), _request(job_role)
    name = request["HyperParameterTuningJobName"]
    request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = 1
    sagemaker.create_hyper_parameter_tuning_job(**request, Tags=TAGS)
    _ended(aws, name)
    (trial,) = sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert sagemaker.list_tags(ResourceArn=trial["TrainingJobArn"])["Tags"] == TAGS
    sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"], "the trials stay"


@pytest.mark.aws_fact
def test_a_version_takes_no_tags_of_its_own(aws: Aws) -> None:
    sagemaker, group = aws.client("sagemaker"), f"group-{uuid4().hex[:8]}"
    sagemaker.create_model_package_group(ModelPackageGroupName=group, Tags=TAGS)
    with pytest.raises(ClientError, match="Tags cannot be supplied with ModelPackageGroupName"):
        _package(aws, group, Tags=TAGS)


def _package(aws: Aws, group: str, **more: Any) -> str:
    made: str = aws.client("sagemaker").create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={
            "Containers": [{"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        **more,
    )["ModelPackageArn"]
    return made


REGISTRY = """
Resources:
  Group:
    Type: AWS::SageMaker::ModelPackageGroup
    Properties: {ModelPackageGroupName: %s}
"""


@pytest.mark.aws_fact
def test_a_stack_keeps_a_group_that_still_has_versions(aws: Aws) -> None:
    stack = group = f"registry-{uuid4().hex[:8]}"
    _create(aws, stack, REGISTRY % group)
    package = _package(aws, group)

    failed = _deleted(aws, stack)
    assert failed["StackStatus"] == "DELETE_FAILED"
    assert "still contains Model Packages" in _reason(aws, failed["StackId"], "Group")

    aws.client("sagemaker").delete_model_package(ModelPackageName=package)
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_COMPLETE", "a second deletion goes on"


# Fails at its first deletion, as one that could not remove everything yet.
CUSTOM = """
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.14
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Code:
        ZipFile: |
          import json, os, tempfile, urllib.request
          def handler(event, context):
              mark = os.path.join(tempfile.gettempdir(), event["StackId"].split("/")[1])
              fails = event["RequestType"] == "Delete" and not os.path.exists(mark)
              if fails:
                  open(mark, "w").close()
              answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
              answer |= {"Status": "FAILED" if fails else "SUCCESS", "Reason": "not gone yet"}
              answer |= {"PhysicalResourceId": "one"}
              urllib.request.urlopen(urllib.request.Request(
                  event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"))
  Thing:
    Type: Custom::Thing
    Properties: {ServiceToken: !GetAtt Function.Arn, ServiceTimeout: 60}
"""


@pytest.mark.aws_fact
def test_what_a_failed_resource_needs_outlives_the_deletion(aws: Aws) -> None:
    stack = f"custom-{uuid4().hex[:8]}"
    _create(aws, stack, CUSTOM)
    failed = _deleted(aws, stack)
    assert failed["StackStatus"] == "DELETE_FAILED"
    assert _reason(aws, failed["StackId"], "Thing") == "not gone yet"
    names = {
        resource["LogicalResourceId"]
        for resource in aws.client("cloudformation").list_stack_resources(StackName=stack)[
            "StackResourceSummaries"
        ]
    }
    assert names == {"Thing", "Function", "Role"}
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.aws_fact
def test_a_protected_stack_is_not_deleted(aws: Aws) -> None:
    stack = f"kept-{uuid4().hex[:8]}"
    formation = aws.client("cloudformation")
    _create(aws, stack, REGISTRY % stack, EnableTerminationProtection=True)
    with pytest.raises(ClientError, match="cannot be deleted while TerminationProtection is enabled"):
        formation.delete_stack(StackName=stack)
    formation.update_termination_protection(StackName=stack, EnableTerminationProtection=False)
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_COMPLETE"


BUCKET_STACK = """
Resources:
  Bucket: {Type: AWS::S3::Bucket, Properties: {Tags: [{Key: "storyloom:app", Value: storyloom}]}}
"""


@pytest.mark.aws_fact
def test_a_bucket_with_objects_is_not_deleted_with_its_stack(aws: Aws) -> None:
    stack = f"bucket-{uuid4().hex[:8]}"
    _create(aws, stack, BUCKET_STACK)
    (resource,) = aws.client("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
    bucket, s3 = resource["PhysicalResourceId"], aws.client("s3")
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == TAGS
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"-")
    failed = _deleted(aws, stack)
    assert failed["StackStatus"] == "DELETE_FAILED"
    assert "is not empty" in _reason(aws, failed["StackId"], "Bucket")
    s3.delete_object(Bucket=bucket, Key="index.html")
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_COMPLETE"


# Its last resource fails: the function answers so, as CloudFront does to an account that is not verified.
LATE_FAILURE = """
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  Role:
    Type: AWS::IAM::Role
    Properties:
      Tags: [{Key: "storyloom:region", Value: !Ref AWS::Region}]
      Policies:
        - PolicyName: files
          PolicyDocument:
            Statement: [{Effect: Allow, Action: s3:PutObject, Resource: !Sub "${Bucket.Arn}/*"}]
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.14
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Code:
        ZipFile: |
          import boto3, json, urllib.request
          def handler(event, context):
              properties = event["ResourceProperties"]
              if event["RequestType"] == "Create" and "Bucket" in properties:
                  boto3.client("s3").put_object(Bucket=properties["Bucket"], Key="index.html", Body=b"-")
              fails = event["RequestType"] == "Create" and "Bucket" not in properties
              answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
              answer |= {"Status": "FAILED" if fails else "SUCCESS", "Reason": "must be verified"}
              answer |= {"PhysicalResourceId": "one"}
              urllib.request.urlopen(urllib.request.Request(
                  event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"))
  Files:
    Type: Custom::Files
    Properties: {ServiceToken: !GetAtt Function.Arn, ServiceTimeout: 60, Bucket: !Ref Bucket}
  Last:
    Type: Custom::Last
    DependsOn: Files
    Properties: {ServiceToken: !GetAtt Function.Arn, ServiceTimeout: 60}
"""


@pytest.mark.aws_fact
def test_a_creation_that_fails_late_leaves_a_bucket_with_files(aws: Aws) -> None:
    stack, formation = f"late-{uuid4().hex[:8]}", aws.client("cloudformation")
    formation.create_stack(StackName=stack, TemplateBody=LATE_FAILURE, Capabilities=["CAPABILITY_IAM"])
    rolled_back = until(
        lambda: formation.describe_stacks(StackName=stack)["Stacks"][0],
        lambda seen: seen["StackStatus"] in ("ROLLBACK_FAILED", "ROLLBACK_COMPLETE", "CREATE_COMPLETE"),
    )
    assert rolled_back["StackStatus"] == "ROLLBACK_FAILED"
    assert "is not empty" in _reason(aws, rolled_back["StackId"], "Bucket")
    (kept,) = formation.list_stack_resources(StackName=stack)["StackResourceSummaries"]
    assert kept["LogicalResourceId"] == "Bucket"
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_FAILED", "no deletion empties it"
    aws.client("s3").delete_object(Bucket=kept["PhysicalResourceId"], Key="index.html")
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_COMPLETE"
    listed = aws.client("s3").list_buckets()["Buckets"]
    assert kept["PhysicalResourceId"] not in [bucket["Name"] for bucket in listed]


def test_destroying_finishes_what_a_creation_that_failed_late_has_left(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_deletion, "POLL_SECONDS", 0.05)
    names, formation = AppNames(f"late{uuid4().hex[:8]}"), aws.client("cloudformation")
    for _ in range(2):  # the name is free again afterwards
        formation.create_stack(
            StackName=names.chat_stack, TemplateBody=LATE_FAILURE, Capabilities=["CAPABILITY_IAM"]
        )
        until(
            lambda: formation.describe_stacks(StackName=names.chat_stack)["Stacks"][0],
            lambda seen: seen["StackStatus"] == "ROLLBACK_FAILED",
        )
        target = AwsTarget(
            boto3.Session(region_name="us-east-1"),
            _clients={service: aws.client(service) for service in ("cloudformation", "s3")},
        )
        deletion = StackDeletion(target, names, lambda line: None)
        deletion.delete_all()
        assert deletion.deleted == [names.chat_stack]
        assert list(regional_buckets.buckets_named(target, names.chat_stack.lower())) == []


ROLE_STACK = """
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      Tags: [{Key: "storyloom:region", Value: !Ref AWS::Region}]
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]
"""


@pytest.mark.aws_fact
def test_a_role_has_no_tags_but_the_templates(aws: Aws) -> None:
    stack, iam = f"role-{uuid4().hex[:8]}", aws.client("iam")
    _create(aws, stack, ROLE_STACK)
    (role,) = aws.client("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
    tags = iam.list_role_tags(RoleName=role["PhysicalResourceId"])["Tags"]
    assert tags == [{"Key": "storyloom:region", "Value": "us-east-1"}]
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.aws_fact
def test_the_list_of_buckets_gives_regions_only_if_asked(aws: Aws) -> None:
    name, s3 = f"listed-{uuid4().hex[:8]}", aws.client("s3")
    s3.create_bucket(Bucket=name)
    assert all("BucketRegion" not in bucket for bucket in s3.list_buckets()["Buckets"])
    (found,) = s3.list_buckets(Prefix=name, BucketRegion="us-east-1")["Buckets"]
    assert (found["Name"], found["BucketRegion"]) == (name, "us-east-1")
    with pytest.raises(ClientError, match="must be made to the corresponding regional endpoint"):
        s3.list_buckets(BucketRegion="eu-west-1")
    s3.delete_bucket(Bucket=name)


GATEWAY = """
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: %s}}
  Method:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !GetAtt Api.RootResourceId
      HttpMethod: GET
      AuthorizationType: NONE
      Integration: {Type: MOCK}
  Deployment: {Type: AWS::ApiGateway::Deployment, DependsOn: Method, Properties: {RestApiId: !Ref Api}}
  LogRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - {Effect: Allow, Action: sts:AssumeRole, Principal: {Service: apigateway.amazonaws.com}}
  Account: {Type: AWS::ApiGateway::Account, Properties: {CloudWatchRoleArn: !GetAtt LogRole.Arn}}
  Stage:
    Type: AWS::ApiGateway::Stage
    DependsOn: Account
    Properties:
      RestApiId: !Ref Api
      DeploymentId: !Ref Deployment
      StageName: prod
      MethodSettings: [{HttpMethod: "*", ResourcePath: "/*", LoggingLevel: ERROR}]
"""


@pytest.mark.aws_fact
def test_the_log_that_api_gateway_makes_outlives_its_stack(aws: Aws) -> None:
    stack = f"gateway-{uuid4().hex[:8]}"
    _create(aws, stack, GATEWAY % stack)
    assert _deleted(aws, stack)["StackStatus"] == "DELETE_COMPLETE"
    found = aws.client("logs").describe_log_groups(logGroupNamePrefix="API-Gateway-Execution-Logs_")
    (group,) = found["logGroups"]
    assert group["logGroupName"].endswith("/prod")
    assert "retentionInDays" not in group
    aws.client("logs").delete_log_group(logGroupName=group["logGroupName"])


def _create(aws: Aws, stack: str, template: str, **more: Any) -> None:
    formation = aws.client("cloudformation")
    formation.create_stack(StackName=stack, TemplateBody=template, Capabilities=["CAPABILITY_IAM"], **more)
    until(
        lambda: formation.describe_stacks(StackName=stack)["Stacks"][0],
        lambda seen: seen["StackStatus"] == "CREATE_COMPLETE",
    )


def _deleted(aws: Aws, stack: str) -> dict[str, Any]:
    formation = aws.client("cloudformation")
    stack_id = formation.describe_stacks(StackName=stack)["Stacks"][0]["StackId"]
    formation.delete_stack(StackName=stack)
    return until(
        lambda: formation.describe_stacks(StackName=stack_id)["Stacks"][0],
        lambda seen: seen["StackStatus"] in ("DELETE_FAILED", "DELETE_COMPLETE"),
    )


def _reason(aws: Aws, stack_id: str, resource: str) -> str:
    events = aws.client("cloudformation").describe_stack_events(StackName=stack_id)["StackEvents"]
    return str(
        next(
            event["ResourceStatusReason"]
            for event in events
            if event["LogicalResourceId"] == resource and event["ResourceStatus"] == "DELETE_FAILED"
        )
    )
