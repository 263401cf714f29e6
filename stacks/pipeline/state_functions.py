"""The Lambda functions that the pipeline's states call: their limits, permissions and settings."""

import json
from collections.abc import Mapping

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from contracts.settings import Settings
from stacks.functions.functions import Function
from stacks.grants.hosting import Hosting
from stacks.grants.job_logs import JOB_LOGS, read_job_logs
from stacks.grants.spending import configure_run_costs, grant_read_ledger, grant_write_ledger
from stacks.permissions import allow, arn
from stacks.quotas import needed
from stacks.references import Storage, page_url_parameter

_MINUTE = 60

FUNCTION_SECONDS = {
    "activate": 2 * _MINUTE,
    "begin": 15 * _MINUTE,
    "read_stories": 15 * _MINUTE,
    "assemble": 15 * _MINUTE,
    "ask_approval": 2 * _MINUTE,
    "stage_base_model": 15 * _MINUTE,
    "preflight": 5 * _MINUTE,
    "reserve": 2 * _MINUTE,
    "choose_best": 2 * _MINUTE,
    "next_attempt": 2 * _MINUTE,
    "resume": 2 * _MINUTE,
    "gate": 2 * _MINUTE,
    "register": 2 * _MINUTE,
    "deploy": 15 * _MINUTE,
    "smoke_test": 5 * _MINUTE,
    "collect_garbage": 5 * _MINUTE,
    "announce": 2 * _MINUTE,
    "record_failure": 2 * _MINUTE,
}
"""The functions that states call, each with its time limit in seconds."""

# The processor's share grows with the memory, which is why some have more than they need. A new account may
# give a function 3,008 MB at most.
MEMORY_MB = {"begin": 2048, "read_stories": 2048, "assemble": 3008, "stage_base_model": 1024, "deploy": 1024}
"""Memory of the functions that need more than 512 MB."""

# read_stories: a file of 200 MB, and up to 256 MB of text out of an archive, twice: for the run and to keep.
# assemble: all text, and the same text as examples.
DISK_MB = {"read_stories": 2048, "assemble": 10240}
"""Temporary disk space of the functions that need more than 512 MB."""


class StateFunctions:
    """Configures the functions of the states: permissions and environment variables."""

    def __init__(
        self,
        scope: Construct,
        functions: Mapping[str, Function],
        *,
        settings: Settings,
        storage: Storage,
        hosting: Hosting,
        hosting_image: str,
        topic_arn: str,
        training_code_uri: str,
    ) -> None:
        """Configure every function.

        Args:
            scope: the stack.
            functions: by name; those of `FUNCTION_SECONDS`.
            settings: of the app.
            storage: buckets and table.
            hosting: the endpoint.
            hosting_image: container of the endpoint.
            topic_arn: ARN of the topic for messages to the owner.
            training_code_uri: folder of the training code in S3.
        """
        self._functions, self._settings, self._storage = functions, settings, storage
        self._hosting, self._hosting_image, self._topic_arn = hosting, hosting_image, topic_arn
        self.model_packages = sagemaker.CfnModelPackageGroup(
            scope,
            "ModelPackages",
            model_package_group_name=settings.name,
            model_package_group_description="Storyloom's trained versions",
        )
        self._configure_reading(functions["begin"], functions["read_stories"])
        self._configure_assembly(functions["assemble"], training_code_uri)
        self._configure_approval(functions["ask_approval"])
        self._configure_stage_base_model(functions["stage_base_model"])
        self._configure_training_states()
        self._configure_preflight(functions["preflight"])
        # Without the Chat stack, which writes the page's address, none of these has a model hosted.
        for name in ("preflight", "activate", "deploy", "smoke_test"):
            self._configure_page_address(functions[name])
        self._configure_gate(functions["gate"])
        self._configure_register(functions["register"])
        self._configure_deployment(functions["deploy"], functions["smoke_test"])
        self._configure_collect_garbage(functions["collect_garbage"])
        self._configure_endings(functions["announce"], functions["record_failure"])

    def _configure_reading(self, begin: Function, read: Function) -> None:
        begin.may_use_table(
            "GetItem", "PutItem", "UpdateItem", partitions=("RUNS", "LOCK", "MODELS", "POINTERS")
        )
        allow(begin.role, ["s3:ListBucketVersions"], [self._storage.stories_arn])
        begin.may_write_artifacts("runs/*/manifest.jsonl", "runs/*/batches.jsonl")
        begin.may_list_artifacts("cache/stories/*")
        begin.may_delete_artifacts("cache/stories/*")
        allow(
            read.role,
            ["s3:GetObject", "s3:GetObjectVersion"],
            [self._storage.stories()],
            wildcard_because="a person names their stories as they like",
        )
        read.may_write_artifacts("runs/*/read/*", "cache/stories/*")
        read.may_list_artifacts("cache/stories/*", "runs/*/read/*")
        read.may_read_artifacts("cache/stories/*")

    def _configure_assembly(self, assemble: Function, training_code_uri: str) -> None:
        settings = self._settings
        assemble.may_use_table("GetItem", "UpdateItem", partitions=["RUNS", "POINTERS"])
        grant_read_ledger(assemble, settings)
        configure_run_costs(assemble, settings)
        assemble.may_list_artifacts("runs/*/read/*")
        ledgers = ("runs/*/ledger.json", "split/ledger.json")
        assemble.may_read_artifacts("runs/*/read/*", *ledgers)
        assemble.may_write_artifacts("runs/*/dataset/*", "runs/*/report.json", "runs/*/report.html", *ledgers)
        for name, value in (
            ("STORYLOOM_MINIMUM_WORDS", str(settings.minimum_words)),
            ("STORYLOOM_MAX_TRAINING_MINUTES", str(settings.max_training_minutes)),
            ("STORYLOOM_TRAINING_INSTANCE", settings.training_instance),
            ("STORYLOOM_INSTANCE_COUNT", str(settings.instance_count)),
            ("STORYLOOM_PROCESSING_INSTANCES", json.dumps(settings.evaluation_instances)),
            ("STORYLOOM_TRAINING_CODE_URI", training_code_uri),
            ("STORYLOOM_SPOT", str(settings.spot).lower()),
            ("STORYLOOM_TUNE", str(settings.tune).lower()),
            ("STORYLOOM_TUNING_JOBS", str(settings.tuning_jobs)),
            ("STORYLOOM_TUNING_BUDGET_USD", f"{settings.tuning_budget_usd:g}"),
            ("STORYLOOM_ASK_BEFORE_TRAINING", str(settings.ask_before_training).lower()),
        ):
            assemble.function.add_environment(name, value)

    def _configure_approval(self, ask: Function) -> None:
        ask.may_use_table("GetItem", "UpdateItem", partitions=("RUNS", "LOCK", "APPROVALS"))
        ask.may_tell_owner(self._topic_arn)
        self._configure_page_address(ask)

    def _configure_stage_base_model(self, stage: Function) -> None:
        stage.may_use_table("UpdateItem", partitions=["RUNS"])
        stage.may_list_artifacts("base-models/*")
        stage.may_read_artifacts("base-models/*")
        stage.may_write_artifacts("base-models/*")
        stage.may_resume_artifacts("base-models/*")
        stage.may_delete_artifacts("base-models/*")  # damaged files, and the copy's progress
        secret = self._settings.huggingface_token_secret
        if secret:
            allow(
                stage.role,
                ["secretsmanager:GetSecretValue"],
                # Secrets Manager adds six characters to a secret's name.
                [arn("secretsmanager", f"secret:{secret}-??????")],
            )
            stage.function.add_environment("STORYLOOM_HUGGINGFACE_TOKEN_SECRET", secret)

    def _configure_training_states(self) -> None:
        """Allow functions to reserve what they spend, and to read what earlier attempts cost."""
        self._functions["choose_best"].may_use_table("UpdateItem", partitions=["RUNS"])
        for name in ("reserve", "next_attempt"):
            self._functions[name].may_use_table("GetItem", "UpdateItem", partitions=["RUNS"])
        for name in ("reserve", "next_attempt", "deploy", "smoke_test"):
            counts_endpoint = name in {"deploy", "smoke_test"}
            grant_write_ledger(self._functions[name], self._settings, endpoint=counts_endpoint)
        grant_read_ledger(self._functions["preflight"], self._settings)
        for name in ("preflight", "reserve", "next_attempt"):
            configure_run_costs(self._functions[name], self._settings)
        self._grant_describe_jobs(self._functions["next_attempt"])
        self._functions["resume"].may_use_table(
            "GetItem", "PutItem", "UpdateItem", partitions=("RUNS", "LOCK", "MODELS")
        )

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
        register.node.add_dependency(self.model_packages)

    def _configure_deployment(self, deploy: Function, smoke_test: Function) -> None:
        self._functions["activate"].may_use_table(
            *("GetItem", "PutItem", "UpdateItem"),
            partitions=("RUNS", "LOCK", "MODELS", "POINTERS", "HOSTING"),
        )
        deploy.may_use_table("GetItem", "UpdateItem", partitions=("RUNS", "MODELS", "POINTERS", "HOSTING"))
        # Versions from before the evaluation unpacked the adapter have it in the training's output.
        adapters = ("runs/*/evaluation/adapter/*", "runs/*/evaluation/merged/*", "runs/*/training/*")
        made = ("base-models/*", *adapters, "hosting/*")
        deploy.may_list_artifacts(*made)
        deploy.may_read_artifacts(*made)
        deploy.may_write_artifacts("hosting/*")
        deploy.may_read_tags_of_artifacts("hosting/*")
        deploy.may_delete_artifacts("hosting/*")  # a retired bundle, before it is built again
        self._hosting.managed_by(deploy)
        smoke_test.may_use_table(
            "GetItem", "PutItem", "UpdateItem", partitions=("RUNS", "MODELS", "POINTERS", "HOSTING")
        )
        self._hosting.managed_by(smoke_test)  # to return to the version that was live
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
        announce.may_use_table("UpdateItem", partitions=["POINTERS"])  # the stories that the run trained on
        for function in (announce, record_failure):
            function.may_use_table(
                "GetItem", "UpdateItem", "DeleteItem", partitions=("RUNS", "LOCK", "TIMER")
            )
            function.may_tell_owner(self._topic_arn)
        self._configure_page_address(announce)
        read_job_logs(record_failure, "logs:DescribeLogStreams", "logs:GetLogEvents", jobs=JOB_LOGS)

    def _configure_page_address(self, function: Function) -> None:
        parameter = page_url_parameter(self._settings)
        allow(function.role, ["ssm:GetParameter"], [arn("ssm", f"parameter{parameter}")])
        function.function.add_environment("STORYLOOM_PAGE_URL_PARAMETER", parameter)
