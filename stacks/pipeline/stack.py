"""The Pipeline stack: from stories in the bucket to a hosted model."""

from collections.abc import Sequence

from aws_cdk import Duration, Environment, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct, IDependable

from contracts import s3_keys
from contracts.environment import EvaluationInstances, Starter
from contracts.s3_keys import below
from contracts.settings import Settings
from contracts.table_keys import APPROVALS, LOCK, MODELS, RUNS, TIMER
from stacks.accepted_findings import TOPIC, accept_findings
from stacks.containers import hosting_image, pinned, training_image
from stacks.custom_resources.clean_up import LONGEST_CLEAN_UP, grant_clean_up, made_at_run_time
from stacks.custom_resources.file_deployment import deploy_files
from stacks.custom_resources.price_refresh import LONGEST_REFRESH, schedule_price_refresh
from stacks.functions.function import Function
from stacks.functions.function_bundles import FunctionBundles, content_digest
from stacks.functions.function_groups import CHECKOUT
from stacks.grants.hosting import HostedEndpoint
from stacks.grants.spending import configure_run_costs, grant_write_ledger
from stacks.grants.transform_jobs import Transforms
from stacks.permissions import allow, arn, service_principal
from stacks.pipeline.job_roles import hosting_role, job_role, transform_role
from stacks.pipeline.state_functions import DISK_MB, FUNCTION_SECONDS, MEMORY_MB, StateFunctions
from stacks.pipeline.state_machine import Pipeline
from stacks.pipeline.trigger import (
    QuietPeriod,
    grant_start_runs,
    on_decision,
    on_new_story,
    on_unrecorded_end,
)
from stacks.references import publish, published
from stacks.rollback_alarms import rollback_alarms
from stacks.storage.stack import StorageStack

_TRAINING_CODE = CHECKOUT / "training_code"


class PipelineStack(Stack):
    """The state machine with its functions, roles and triggers."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        storage: StorageStack,
        bundles: FunctionBundles,
        image_region: str,
        env: Environment,
    ) -> None:
        """Create the stack."""
        super().__init__(scope, id_, description="Storyloom: from stories to a hosted model", env=env)
        self._settings, self._bundles = settings, bundles
        self._storage = storage.import_into(self)
        image = pinned(training_image(image_region, settings.training_instance))
        self._hosting_image = pinned(hosting_image(image_region, settings.hosting_instance))
        self._job_role = job_role(self, settings, self._storage, image)
        hosting = hosting_role(self, settings, self._storage, self._hosting_image)
        self._hosting = HostedEndpoint(settings, self._hosting_image, hosting.role_arn)
        self._functions = {name: self._function(name, seconds) for name, seconds in FUNCTION_SECONDS.items()}
        self._topic = _topic(self, settings)
        rollback_alarms(self, settings, self._topic)
        state_functions = StateFunctions(
            self,
            self._functions,
            settings=settings,
            storage=self._storage,
            hosting=self._hosting,
            hosting_image=self._hosting_image,
            topic_arn=self._topic.topic_arn,
            training_code_uri=_deploy_training_code(self, self._storage.artifacts_bucket),
        )
        self._model_packages = state_functions.model_packages
        self._pipeline = Pipeline(
            self, "Pipeline", settings=settings, storage=self._storage, job_role=self._job_role
        )
        start_run = self._trigger(self._pipeline)
        machine = self._pipeline.define(self._functions, image)
        machine.node.add_dependency(self.node.find_child("TrainingCode"))
        publish(self, "StateMachineArn", self._pipeline.arn, "State machine of the pipeline")
        publish(self, "TopicArn", self._topic.topic_arn, "Topic for messages about runs and alarms")
        publish(self, "StartRunFunctionName", start_run.function.function_name, "Starts a run")
        publish(self, "HostingRoleArn", hosting.role_arn, "Role of the endpoint")
        transforms = transform_role(self, self._storage, self._hosting_image)
        publish(self, "TransformRoleArn", transforms.role_arn, "Role of the transform jobs")
        needed = (machine, self._job_role, hosting, transforms, self._quiet_period.group)
        ask = self._function("refresh_prices", int(LONGEST_REFRESH.to_seconds()))
        self._clean_up(self._pipeline, needed, schedule_price_refresh(self, settings, ask))

    def import_hosting_into(self, consumer: Stack) -> HostedEndpoint:
        """Return the endpoint for a stack that starts or invokes it."""
        return HostedEndpoint(
            self._settings, self._hosting_image, published(self, consumer, "HostingRoleArn")
        )

    def import_transforms_into(self, consumer: Stack) -> Transforms:
        """Return the transform jobs for a stack that creates them."""
        return Transforms(self._settings, self._hosting_image, published(self, consumer, "TransformRoleArn"))

    def import_clean_up_into(self, consumer: Stack) -> str:
        """Return the ARN of the function that removes what was created at run time, for another stack."""
        return arn("lambda", f"function:{published(self, consumer, 'CleanUpFunctionName')}")

    def import_start_run_into(self, consumer: Stack) -> str:
        """Return the name of the function that starts runs, for another stack."""
        return published(self, consumer, "StartRunFunctionName")

    def import_machine_into(self, consumer: Stack) -> Pipeline:
        """Return the state machine for another stack."""
        consumer.add_stack_dependency(self)
        return self._pipeline

    def _function(self, name: str, seconds: int) -> Function:
        return Function(
            self,
            name,
            settings=self._settings,
            bundles=self._bundles,
            storage=self._storage,
            timeout=Duration.seconds(seconds),
            memory_mb=MEMORY_MB.get(name, 512),
            disk_mb=DISK_MB.get(name, 512),
        )

    def _trigger(self, pipeline: Pipeline) -> Function:
        """Create the functions that start runs and schedule them; returns `start_run`."""
        start_run, debounce_uploads = self._function("start_run", 60), self._function("debounce_uploads", 60)
        start_run.grant_table_access(
            *("GetItem", "PutItem", "UpdateItem", "DeleteItem"),
            partitions=(RUNS, LOCK, APPROVALS, MODELS, TIMER),
        )
        grant_start_runs(start_run, pipeline.arn, pipeline.executions_arn)
        quiet_period = QuietPeriod(self, "QuietPeriod", settings=self._settings, start_run=start_run)
        self._quiet_period = quiet_period
        # It records when the first story of the quiet period arrived.
        debounce_uploads.grant_table_access("GetItem", "UpdateItem", partitions=[TIMER])
        for function in (debounce_uploads, self._functions["announce"], self._functions["record_failure"]):
            quiet_period.grant_schedule(function)
        pipeline.grant_read_map_runs(self._functions["record_failure"])
        for function in (start_run, self._functions["record_failure"]):
            pipeline.grant_read_history(function)
        self._configure_resumption(start_run)
        for function in (start_run, self._functions["ask_approval"]):
            pipeline.grant_task_response(function)  # new stories supersede a run that waits for approval
        self._rules = (
            on_new_story(self, self._storage, debounce_uploads),
            self._deploy_approved_versions(start_run),
            on_unrecorded_end(self, pipeline.arn, self._functions["record_failure"]),
        )
        return start_run

    def _configure_resumption(self, start_run: Function) -> None:
        """Allow start_run to check whether what a failed run made still exists."""
        start_run.grant_list_artifacts(below(s3_keys.RUNS))
        start_run.configure(EvaluationInstances(processing_instances=self._settings.evaluation_instances))
        grant_write_ledger(start_run, self._settings)
        configure_run_costs(start_run, self._settings)

    def _clean_up(self, pipeline: Pipeline, needed: Sequence[IDependable], tick: events.Rule) -> None:
        """Add the custom resource that removes everything created at run time when the stack is deleted."""
        clean_up = self._function("clean_up", int(LONGEST_CLEAN_UP.to_seconds()))
        grant_clean_up(
            clean_up,
            self._settings,
            hosting=self._hosting,
            machine_arn=pipeline.arn,
            executions_arn=pipeline.executions_arn,
        )
        grant_write_ledger(clean_up, self._settings, endpoint=True)  # the endpoint's cost ends with it
        self._quiet_period.grant_delete(clean_up)
        made_at_run_time(
            self,
            clean_up_arn=clean_up.arn,
            part="everything",
            needs=(*needed, self._model_packages),
            makers=(*self._rules, tick),
        )
        publish(
            self,
            "CleanUpFunctionName",
            clean_up.function.function_name,
            "Removes what was created",
        )

    def _deploy_approved_versions(self, start_run: Function) -> events.Rule:
        """Create the function that has a version deployed after its approval in the registry."""
        decided = self._function("on_version_reviewed", 60)
        decided.grant_table_access("Query", "UpdateItem", partitions=[MODELS])
        allow(decided.role, ["lambda:InvokeFunction"], [start_run.arn])
        decided.configure(Starter(start_run_arn=start_run.arn))
        return on_decision(self, self._settings.name, decided)


def _topic(scope: Construct, settings: Settings) -> sns.Topic:
    topic = sns.Topic(scope, "Messages", display_name="Storyloom", enforce_ssl=True)
    accept_findings(topic, TOPIC)
    # A topic with a policy of its own has no default one: CloudWatch's alarms must be named.
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[service_principal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
        )
    )
    if settings.admin_email:
        topic.add_subscription(subscriptions.EmailSubscription(settings.admin_email))
    return topic


def _deploy_training_code(scope: Construct, artifacts_bucket: str) -> str:
    """Copy the training code to the artifacts bucket, once for each version of it; returns its S3 URI."""
    prefix = s3_keys.training_code(content_digest(_TRAINING_CODE)[:16])
    deploy_files(
        scope,
        "TrainingCode",
        bucket=s3.Bucket.from_bucket_name(scope, "ArtifactsBucket", artifacts_bucket),
        sources=[s3_deployment.Source.asset(str(_TRAINING_CODE), exclude=["**/__pycache__", "**/*.pyc"])],
        prefix=prefix.removesuffix("/"),
        prune=False,  # runs in progress still read the version before
        retain_on_delete=True,
    )
    return s3_keys.uri(artifacts_bucket, prefix)
