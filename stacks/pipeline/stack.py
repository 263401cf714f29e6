"""Pipeline: from stories in the bucket to a hosted model."""

import json
from collections.abc import Sequence

from aws_cdk import Duration, Environment, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct, IDependable

from contracts.settings import Settings
from stacks.accepted_findings import TOPIC, accept_findings
from stacks.containers.container_digests import pinned
from stacks.containers.container_images import hosting_image, training_image
from stacks.custom_resources.clean_up import LONGEST_CLEAN_UP, grant_clean_up, made_at_run_time
from stacks.custom_resources.file_deployment import deploy_files
from stacks.custom_resources.price_refresh import LONGEST_REFRESH, schedule_price_refresh
from stacks.functions.function_bundles import FunctionBundles, content_digest
from stacks.functions.function_groups import CHECKOUT
from stacks.functions.functions import Function
from stacks.grants.hosting import Hosting
from stacks.grants.job_logs import JOB_LOGS, read_job_logs
from stacks.grants.spending import configure_run_costs, grant_read_ledger, grant_write_ledger
from stacks.grants.transforms import Transforms
from stacks.permissions import allow, arn, service_principal
from stacks.pipeline.job_roles import hosting_role, job_role, transform_role
from stacks.pipeline.state_machine import FUNCTION_SECONDS, Pipeline
from stacks.pipeline.trigger import QuietPeriod, on_decision, on_new_story, on_unrecorded_end, started_by
from stacks.quotas import needed
from stacks.references import page_url_parameter, publish, published
from stacks.rollback_alarms import rollback_alarms
from stacks.storage.stack import StorageStack

_TRAINING_CODE = CHECKOUT / "training_code"
# The processor's share grows with the memory, which is why some have more than they need. A new account may
# give a function 3,008 MB at most.
_MEMORY_MB = {"begin": 2048, "read_stories": 2048, "assemble": 3008, "stage_base_model": 1024, "deploy": 1024}
# read_stories: a file of 200 MB, and up to 256 MB of text out of an archive, twice: for the run and to keep.
# assemble: all text, and the same text as examples.
_DISK_MB = {"read_stories": 2048, "assemble": 10240}


class PipelineStack(Stack):
    """The state machine, its functions, their roles, and what triggers it."""

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
        """Make the stack."""
        super().__init__(scope, id_, description="Storyloom: from stories to a hosted model", env=env)
        self._settings, self._bundles = settings, bundles
        self._storage = storage.import_into(self)
        image = pinned(training_image(image_region, settings.training_instance))
        self._hosting_image = pinned(hosting_image(image_region, settings.hosting_instance))
        self._job_role = job_role(self, settings, self._storage, image)
        hosting = hosting_role(self, settings, self._storage, self._hosting_image)
        self._hosting = Hosting(settings, self._hosting_image, hosting.role_arn)
        self._functions = {name: self._function(name, seconds) for name, seconds in FUNCTION_SECONDS.items()}
        self._topic = _topic(self, settings)
        rollback_alarms(self, settings, self._topic)
        training_code_prefix = _deploy_training_code(self, self._storage.artifacts_bucket)
        self._configure_data_functions(training_code_prefix)
        self._configure_model_functions()
        self._configure_approval(self._functions["ask_approval"])
        self._pipeline = Pipeline(
            self, "Pipeline", settings=settings, storage=self._storage, job_role=self._job_role
        )
        start_run = self._trigger(self._pipeline)
        machine = self._pipeline.define(self._functions, image)
        machine.node.add_dependency(self.node.find_child("TrainingCode"))
        publish(self, "StateMachineArn", self._pipeline.arn, "The pipeline")
        publish(self, "TopicArn", self._topic.topic_arn, "Messages about runs and alarms")
        publish(self, "StartRunFunctionName", start_run.function.function_name, "Starts a run by hand")
        publish(self, "HostingRoleArn", hosting.role_arn, "Role of the endpoint")
        transforms = transform_role(self, self._storage, self._hosting_image)
        publish(self, "TransformRoleArn", transforms.role_arn, "Role of the transform jobs")
        needed = (machine, self._job_role, hosting, transforms, self._quiet_period.group)
        ask = self._function("refresh_prices", int(LONGEST_REFRESH.to_seconds()))
        self._clean_up(self._pipeline, needed, schedule_price_refresh(self, settings, ask))

    def import_hosting_into(self, consumer: Stack) -> Hosting:
        """The endpoint, for a stack that wakes it or asks it."""
        return Hosting(self._settings, self._hosting_image, published(self, consumer, "HostingRoleArn"))

    def import_transforms_into(self, consumer: Stack) -> Transforms:
        """The transform jobs, for a stack that makes them."""
        return Transforms(self._settings, self._hosting_image, published(self, consumer, "TransformRoleArn"))

    def import_clean_up_into(self, consumer: Stack) -> str:
        """Return the ARN of the function that removes what was made at run time, for another stack."""
        return arn("lambda", f"function:{published(self, consumer, 'CleanUpFunctionName')}")

    def import_start_run_into(self, consumer: Stack) -> str:
        """Name of the function that starts runs, for another stack."""
        return published(self, consumer, "StartRunFunctionName")

    def import_machine_into(self, consumer: Stack) -> Pipeline:
        """The state machine, for another stack."""
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
            memory_mb=_MEMORY_MB.get(name, 512),
            disk_mb=_DISK_MB.get(name, 512),
        )

    def _trigger(self, pipeline: Pipeline) -> Function:
        """Make what starts a run, and what sets the timer for one more; returns `start_run`."""
        start_run, debounce_uploads = self._function("start_run", 60), self._function("debounce_uploads", 60)
        start_run.may_use_table(
            *("GetItem", "PutItem", "UpdateItem", "DeleteItem"),
            partitions=("RUNS", "LOCK", "APPROVALS", "MODELS", "TIMER"),
        )
        started_by(start_run, pipeline.arn, pipeline.executions_arn)
        quiet_period = QuietPeriod(self, "QuietPeriod", settings=self._settings, start_run=start_run)
        self._quiet_period = quiet_period
        # It holds since when stories have been arriving.
        debounce_uploads.may_use_table("GetItem", "UpdateItem", partitions=["TIMER"])
        for function in (debounce_uploads, self._functions["announce"], self._functions["record_failure"]):
            quiet_period.movable_by(function)
        pipeline.explained_to(self._functions["record_failure"])
        for function in (start_run, self._functions["record_failure"]):
            pipeline.grant_read_history(function)
        self._configure_resumption(start_run)
        for function in (start_run, self._functions["ask_approval"]):
            pipeline.answered_by(function)  # new stories answer for a run that waits
        self._rules = (
            on_new_story(self, self._storage, debounce_uploads),
            self._hear_decisions(start_run),
            on_unrecorded_end(self, pipeline.arn, self._functions["record_failure"]),
        )
        return start_run

    def _configure_resumption(self, start_run: Function) -> None:
        """Let start_run see whether what a failed run made is still there."""
        start_run.may_list_artifacts("runs/*")
        instances = json.dumps(self._settings.evaluation_instances)
        start_run.function.add_environment("STORYLOOM_PROCESSING_INSTANCES", instances)
        grant_write_ledger(start_run, self._settings)
        configure_run_costs(start_run, self._settings)

    def _clean_up(self, pipeline: Pipeline, needed: Sequence[IDependable], tick: events.Rule) -> None:
        """Add the custom resource that removes, at deletion, everything made at run time."""
        clean_up = self._function("clean_up", int(LONGEST_CLEAN_UP.to_seconds()))
        grant_clean_up(
            clean_up,
            self._settings,
            hosting=self._hosting,
            machine_arn=pipeline.arn,
            executions_arn=pipeline.executions_arn,
        )
        grant_write_ledger(clean_up, self._settings, endpoint=True)  # the endpoint's cost ends with it
        self._quiet_period.deleted_by(clean_up)
        made_at_run_time(
            self,
            clean_up_arn=clean_up.arn,
            part="everything",
            needs=(*needed, self._model_packages),
            makers=(*self._rules, tick),
        )
        publish(self, "CleanUpFunctionName", clean_up.function.function_name, "Removes what was made")

    def _hear_decisions(self, start_run: Function) -> events.Rule:
        """Make what has a version deployed after somebody's yes in the registry."""
        decided = self._function("on_version_reviewed", 60)
        decided.may_use_table("Query", "UpdateItem", partitions=["MODELS"])
        allow(decided.role, ["lambda:InvokeFunction"], [start_run.arn])
        decided.function.add_environment("STORYLOOM_START_RUN_ARN", start_run.arn)
        return on_decision(self, self._settings.name, decided)

    def _configure_data_functions(self, training_code_prefix: str) -> None:
        functions, storage, settings = self._functions, self._storage, self._settings
        begin, read, assemble = functions["begin"], functions["read_stories"], functions["assemble"]
        begin.may_use_table(
            "GetItem", "PutItem", "UpdateItem", partitions=("RUNS", "LOCK", "MODELS", "POINTERS")
        )
        allow(begin.role, ["s3:ListBucketVersions"], [storage.stories_arn])
        begin.may_write_artifacts("runs/*/manifest.jsonl", "runs/*/batches.jsonl")
        begin.may_list_artifacts("cache/stories/*")
        begin.may_delete_artifacts("cache/stories/*")
        allow(
            read.role,
            ["s3:GetObject", "s3:GetObjectVersion"],
            [storage.stories()],
            wildcard_because="a person names their stories as they like",
        )
        read.may_write_artifacts("runs/*/read/*", "cache/stories/*")
        read.may_list_artifacts("cache/stories/*", "runs/*/read/*")
        read.may_read_artifacts("cache/stories/*")
        assemble.may_use_table("GetItem", "UpdateItem", partitions=["RUNS", "POINTERS"])
        grant_read_ledger(assemble, settings)
        configure_run_costs(assemble, settings)
        assemble.may_list_artifacts("runs/*/read/*")
        ledgers = ("runs/*/ledger.json", "split/ledger.json")
        assemble.may_read_artifacts("runs/*/read/*", *ledgers)
        assemble.may_write_artifacts("runs/*/dataset/*", "runs/*/report.json", "runs/*/report.html", *ledgers)
        uri = f"s3://{storage.artifacts_bucket}/{training_code_prefix}/"
        for name, value in (
            ("STORYLOOM_MINIMUM_WORDS", str(settings.minimum_words)),
            ("STORYLOOM_MAX_TRAINING_MINUTES", str(settings.max_training_minutes)),
            ("STORYLOOM_TRAINING_INSTANCE", settings.training_instance),
            ("STORYLOOM_INSTANCE_COUNT", str(settings.instance_count)),
            ("STORYLOOM_PROCESSING_INSTANCES", json.dumps(settings.evaluation_instances)),
            ("STORYLOOM_TRAINING_CODE_URI", uri),
            ("STORYLOOM_SPOT", str(settings.spot).lower()),
            ("STORYLOOM_TUNE", str(settings.tune).lower()),
            ("STORYLOOM_TUNING_JOBS", str(settings.tuning_jobs)),
            ("STORYLOOM_TUNING_BUDGET_USD", f"{settings.tuning_budget_usd:g}"),
            ("STORYLOOM_ASK_BEFORE_TRAINING", str(settings.ask_before_training).lower()),
        ):
            assemble.function.add_environment(name, value)

    def _configure_approval(self, ask: Function) -> None:
        ask.may_use_table("GetItem", "UpdateItem", partitions=("RUNS", "LOCK", "APPROVALS"))
        ask.may_tell_owner(self._topic.topic_arn)
        self._knows_the_page(ask)

    def _knows_the_page(self, function: Function) -> None:
        parameter = page_url_parameter(self._settings)
        allow(function.role, ["ssm:GetParameter"], [arn("ssm", f"parameter{parameter}")])
        function.function.add_environment("STORYLOOM_PAGE_URL_PARAMETER", parameter)

    def _configure_model_functions(self) -> None:
        self._configure_stage_base_model(self._functions["stage_base_model"])
        self._functions["choose_best"].may_use_table("UpdateItem", partitions=["RUNS"])
        for name in ("reserve", "next_attempt"):
            self._functions[name].may_use_table("GetItem", "UpdateItem", partitions=["RUNS"])
        self._configure_spending()
        self._functions["resume"].may_use_table(
            "GetItem", "PutItem", "UpdateItem", partitions=("RUNS", "LOCK", "MODELS")
        )
        self._configure_preflight(self._functions["preflight"])
        for name in ("preflight", "activate", "deploy", "smoke_test"):
            self._knows_the_page(
                self._functions[name]
            )  # without the Chat stack none of them has a model hosted
        self._configure_gate(self._functions["gate"])
        self._configure_register(self._functions["register"])
        self._configure_deployment(self._functions["deploy"], self._functions["smoke_test"])
        self._configure_collect_garbage(self._functions["collect_garbage"])
        self._configure_endings(self._functions["announce"], self._functions["record_failure"])

    def _configure_spending(self) -> None:
        """Let functions set aside what they make cost, and those that try again see what has cost already."""
        for name in ("reserve", "next_attempt", "deploy", "smoke_test"):
            counts_endpoint = name in {"deploy", "smoke_test"}
            grant_write_ledger(self._functions[name], self._settings, endpoint=counts_endpoint)
        grant_read_ledger(self._functions["preflight"], self._settings)
        for name in ("preflight", "reserve", "next_attempt"):
            configure_run_costs(self._functions[name], self._settings)
        self._grant_describe_jobs(self._functions["next_attempt"])

    def _grant_describe_jobs(self, function: Function) -> None:
        name = self._settings.name
        for kind, jobs in (
            ("Training", f"training-job/{name}-train-*"),
            ("Processing", f"processing-job/{name}-evaluate-*"),
        ):
            allow(
                function.role,
                [f"sagemaker:Describe{kind}Job"],
                [arn("sagemaker", jobs)],
                wildcard_because="a job is named by its run",
            )

    def _configure_preflight(self, preflight: Function) -> None:
        preflight.may_use_table("GetItem", "UpdateItem", partitions=["RUNS"])
        allow(
            preflight.role,
            ["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"],
            ["*"],
            wildcard_because="listing quotas knows no resources",
        )
        quotas = [
            {
                "name": need.name,
                "minimum": need.minimum,
                "purpose": need.purpose,
                "stands_in_for": need.stands_in_for,
            }
            for need in needed(self._settings)
            if need.service == "sagemaker" and (not need.optional or need.stands_in_for)
        ]
        preflight.function.add_environment("STORYLOOM_QUOTAS", json.dumps(quotas))

    def _configure_stage_base_model(self, stage: Function) -> None:
        stage.may_use_table("UpdateItem", partitions=["RUNS"])
        stage.may_list_artifacts("base-models/*")
        stage.may_read_artifacts("base-models/*")
        stage.may_write_artifacts("base-models/*")
        stage.may_resume_artifacts("base-models/*")
        stage.may_delete_artifacts("base-models/*")  # what arrived damaged, and how far the copy was
        secret = self._settings.huggingface_token_secret
        if secret:
            allow(
                stage.role,
                ["secretsmanager:GetSecretValue"],
                # Secrets Manager adds six characters to a secret's name.
                [arn("secretsmanager", f"secret:{secret}-??????")],
            )
            stage.function.add_environment("STORYLOOM_HUGGINGFACE_TOKEN_SECRET", secret)

    def _configure_gate(self, gate: Function) -> None:
        gate.may_use_table("UpdateItem", partitions=["RUNS"])
        gate.may_read_artifacts("runs/*/evaluation/*")
        settings = self._settings
        for name, percent in (
            ("STORYLOOM_MINIMUM_IMPROVEMENT_PERCENT", settings.minimum_improvement_percent),
            ("STORYLOOM_MAXIMUM_COPY_PERCENT", settings.maximum_copy_percent),
            ("STORYLOOM_MAXIMUM_REPETITION_PERCENT", settings.maximum_repetition_percent),
            ("STORYLOOM_MINIMUM_ENDING_PERCENT", settings.minimum_ending_percent),
        ):
            gate.function.add_environment(name, f"{percent:g}")

    def _configure_register(self, register: Function) -> None:
        group = self._model_packages = sagemaker.CfnModelPackageGroup(
            self,
            "ModelPackages",
            model_package_group_name=self._settings.name,
            model_package_group_description="Storyloom's trained versions",
        )
        register.may_use_table("GetItem", "PutItem", "UpdateItem", partitions=("RUNS", "MODELS", "POINTERS"))
        allow(
            register.role,
            ["sagemaker:CreateModelPackage"],
            [
                arn("sagemaker", f"model-package-group/{self._settings.name}"),
                arn("sagemaker", f"model-package/{self._settings.name}/*"),
            ],
            wildcard_because="the registry numbers the packages of the group",
        )
        register.function.add_environment("STORYLOOM_MODEL_PACKAGE_GROUP", self._settings.name)
        register.function.add_environment("STORYLOOM_HOSTING_IMAGE", self._hosting_image)
        register.function.add_environment("STORYLOOM_APPROVAL", self._settings.approval)
        register.node.add_dependency(group)

    def _configure_deployment(self, deploy: Function, smoke_test: Function) -> None:
        self._functions["activate"].may_use_table(
            *("GetItem", "PutItem", "UpdateItem"),
            partitions=("RUNS", "LOCK", "MODELS", "POINTERS", "HOSTING"),
        )
        deploy.may_use_table("GetItem", "UpdateItem", partitions=("RUNS", "MODELS", "POINTERS", "HOSTING"))
        # Versions made before the evaluation unpacked the adapter have it among the training's output.
        adapters = ("runs/*/evaluation/adapter/*", "runs/*/evaluation/merged/*", "runs/*/training/*")
        made = ("base-models/*", *adapters, "hosting/*")
        deploy.may_list_artifacts(*made)
        deploy.may_read_artifacts(*made)
        deploy.may_write_artifacts("hosting/*")
        deploy.may_read_tags_of_artifacts("hosting/*")
        deploy.may_delete_artifacts("hosting/*")  # what is on its way out, before it is built again
        self._hosting.managed_by(deploy)
        smoke_test.may_use_table(
            "GetItem", "PutItem", "UpdateItem", partitions=("RUNS", "MODELS", "POINTERS", "HOSTING")
        )
        self._hosting.managed_by(smoke_test)  # it puts the version back that was live
        self._hosting.asked_by(smoke_test)

    def _configure_collect_garbage(self, collect_garbage: Function) -> None:
        collect_garbage.may_use_table(
            *("GetItem", "Query", "UpdateItem"),
            partitions=("RUNS", "MODELS", "POINTERS", "HOSTING", "BATCHES"),
        )
        collect_garbage.may_list_artifacts("hosting/*", "transforms/model/*", "base-models/*", "runs/*")
        collect_garbage.may_delete_artifacts(
            "hosting/*",
            "transforms/model/*",
            "base-models/*",
            "runs/*/checkpoints/*",
            "runs/*/evaluation/merged/*",
        )
        collect_garbage.may_tag_artifacts("hosting/*")
        self._hosting.collected_by(collect_garbage)

    def _configure_endings(self, announce: Function, record_failure: Function) -> None:
        announce.may_use_table("UpdateItem", partitions=["POINTERS"])  # what the run has trained on
        for function in (announce, record_failure):
            function.may_use_table(
                "GetItem", "UpdateItem", "DeleteItem", partitions=("RUNS", "LOCK", "TIMER")
            )
            function.may_tell_owner(self._topic.topic_arn)
        self._knows_the_page(announce)
        read_job_logs(record_failure, "logs:DescribeLogStreams", "logs:GetLogEvents", jobs=JOB_LOGS)


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
    """Copy the training code to the artifacts bucket, once for each version of it; returns its prefix."""
    prefix = f"training-code/{content_digest(_TRAINING_CODE)[:16]}"
    deploy_files(
        scope,
        "TrainingCode",
        bucket=s3.Bucket.from_bucket_name(scope, "ArtifactsBucket", artifacts_bucket),
        sources=[s3_deployment.Source.asset(str(_TRAINING_CODE), exclude=["**/__pycache__", "**/*.pyc"])],
        prefix=prefix,
        prune=False,  # runs that are going still read the version before
        retain_on_delete=True,
    )
    return prefix
