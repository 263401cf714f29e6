"""The Lambda functions that the pipeline's states call: their limits, permissions and settings."""

from collections.abc import Mapping

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from contracts import s3_keys
from contracts.environment import Assembly, GateRules, PageAddress, QuotaCheck, Registry, Staging
from contracts.resource_names import PROCESSING_LOG, TRAINING_LOG
from contracts.s3_keys import below
from contracts.settings import Settings
from contracts.table_keys import APPROVALS, BATCHES, HOSTING, LOCK, MODELS, POINTERS, RUNS, TIMER
from stacks.functions.function import Function
from stacks.grants.hosting import HostedEndpoint
from stacks.grants.job_logs import grant_read_job_logs
from stacks.grants.spending import configure_run_costs, grant_read_ledger, grant_write_ledger
from stacks.permissions import allow, arn
from stacks.quotas import needed
from stacks.references import Storage

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
        hosting: HostedEndpoint,
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
        begin.grant_table_access(
            "GetItem", "PutItem", "UpdateItem", partitions=(RUNS, LOCK, MODELS, POINTERS)
        )
        allow(begin.role, ["s3:ListBucketVersions"], [self._storage.stories_arn])
        begin.grant_write_artifacts(s3_keys.manifest("*"), s3_keys.batches("*"))
        begin.grant_list_artifacts(below(s3_keys.CACHED_STORIES))
        begin.grant_delete_artifacts(below(s3_keys.CACHED_STORIES))
        allow(
            read.role,
            ["s3:GetObject", "s3:GetObjectVersion"],
            [self._storage.stories()],
            wildcard_because="a person names their stories as they like",
        )
        read.grant_write_artifacts(below(s3_keys.read_prefix("*")), below(s3_keys.CACHED_STORIES))
        read.grant_list_artifacts(below(s3_keys.CACHED_STORIES), below(s3_keys.read_prefix("*")))
        read.grant_read_artifacts(below(s3_keys.CACHED_STORIES))

    def _configure_assembly(self, assemble: Function, training_code_uri: str) -> None:
        assemble.grant_table_access("GetItem", "UpdateItem", partitions=[RUNS, POINTERS])
        grant_read_ledger(assemble, self._settings)
        configure_run_costs(assemble, self._settings)
        assemble.grant_list_artifacts(below(s3_keys.read_prefix("*")))
        ledgers = (s3_keys.ledger_used("*"), s3_keys.LEDGER)
        assemble.grant_read_artifacts(below(s3_keys.read_prefix("*")), *ledgers)
        assemble.grant_write_artifacts(
            below(s3_keys.whole_dataset("*")), s3_keys.report("*"), s3_keys.report_page("*"), *ledgers
        )
        group = Assembly.from_settings(
            self._settings,
            processing_instances=self._settings.evaluation_instances,
            training_code_uri=training_code_uri,
        )
        assemble.configure(group)

    def _configure_approval(self, ask: Function) -> None:
        ask.grant_table_access("GetItem", "UpdateItem", partitions=(RUNS, LOCK, APPROVALS))
        ask.grant_publish(self._topic_arn)
        self._configure_page_address(ask)

    def _configure_stage_base_model(self, stage: Function) -> None:
        stage.grant_table_access("UpdateItem", partitions=[RUNS])
        stage.grant_list_artifacts(below(s3_keys.BASE_MODELS))
        stage.grant_read_artifacts(below(s3_keys.BASE_MODELS))
        stage.grant_write_artifacts(below(s3_keys.BASE_MODELS))
        stage.grant_list_upload_parts(below(s3_keys.BASE_MODELS))
        stage.grant_delete_artifacts(below(s3_keys.BASE_MODELS))  # damaged files, and the copy's progress
        secret = self._settings.huggingface_token_secret
        if secret:
            allow(
                stage.role,
                ["secretsmanager:GetSecretValue"],
                # Secrets Manager adds six characters to a secret's name.
                [arn("secretsmanager", f"secret:{secret}-??????")],
            )
            stage.configure(Staging.from_settings(self._settings))

    def _configure_training_states(self) -> None:
        """Allow functions to reserve what they spend, and to read what earlier attempts cost."""
        self._functions["choose_best"].grant_table_access("UpdateItem", partitions=[RUNS])
        for name in ("reserve", "next_attempt"):
            self._functions[name].grant_table_access("GetItem", "UpdateItem", partitions=[RUNS])
        for name in ("reserve", "next_attempt", "deploy", "smoke_test"):
            counts_endpoint = name in {"deploy", "smoke_test"}
            grant_write_ledger(self._functions[name], self._settings, endpoint=counts_endpoint)
        grant_read_ledger(self._functions["preflight"], self._settings)
        for name in ("preflight", "reserve", "next_attempt"):
            configure_run_costs(self._functions[name], self._settings)
        self._grant_describe_jobs(self._functions["next_attempt"])
        self._functions["resume"].grant_table_access(
            "GetItem", "PutItem", "UpdateItem", partitions=(RUNS, LOCK, MODELS)
        )

    def _grant_describe_jobs(self, function: Function) -> None:
        names = self._settings.names
        for kind, jobs in (
            ("Training", f"training-job/{names.training_job('*')}"),
            ("Processing", f"processing-job/{names.evaluation_job('*')}"),
        ):
            allow(
                function.role,
                [f"sagemaker:Describe{kind}Job"],
                [arn("sagemaker", jobs)],
                wildcard_because="a job is named by its run",
            )

    def _configure_preflight(self, preflight: Function) -> None:
        preflight.grant_table_access("GetItem", "UpdateItem", partitions=[RUNS])
        allow(
            preflight.role,
            ["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"],
            ["*"],
            wildcard_because="listing quotas supports no resources",
        )
        quotas: list[dict[str, str | int]] = [
            {
                "name": need.name,
                "minimum": need.minimum,
                "purpose": need.purpose,
                "stands_in_for": need.stands_in_for,
            }
            for need in needed(self._settings)
            if need.service == "sagemaker" and (not need.optional or need.stands_in_for)
        ]
        preflight.configure(QuotaCheck(quotas=quotas))

    def _configure_gate(self, gate: Function) -> None:
        gate.grant_table_access("UpdateItem", partitions=[RUNS])
        gate.grant_read_artifacts(below(s3_keys.evaluation("*")))
        gate.configure(GateRules.from_settings(self._settings))

    def _configure_register(self, register: Function) -> None:
        register.grant_table_access("GetItem", "PutItem", "UpdateItem", partitions=(RUNS, MODELS, POINTERS))
        allow(
            register.role,
            ["sagemaker:CreateModelPackage"],
            [
                arn("sagemaker", f"model-package-group/{self._settings.name}"),
                arn("sagemaker", f"model-package/{self._settings.name}/*"),
            ],
            wildcard_because="the registry numbers the packages of the group",
        )
        group = Registry.from_settings(
            self._settings, model_package_group=self._settings.name, hosting_image=self._hosting_image
        )
        register.configure(group)
        register.node.add_dependency(self.model_packages)

    def _configure_deployment(self, deploy: Function, smoke_test: Function) -> None:
        self._functions["activate"].grant_table_access(
            *("GetItem", "PutItem", "UpdateItem"), partitions=(RUNS, LOCK, MODELS, POINTERS, HOSTING)
        )
        deploy.grant_table_access("GetItem", "UpdateItem", partitions=(RUNS, MODELS, POINTERS, HOSTING))
        # Versions from before the evaluation unpacked the adapter have it in the training's output.
        adapters = (below(s3_keys.adapter("*")), below(s3_keys.merged("*")), below(s3_keys.training("*")))
        made = (below(s3_keys.BASE_MODELS), *adapters, below(s3_keys.HOSTING))
        deploy.grant_list_artifacts(*made)
        deploy.grant_read_artifacts(*made)
        deploy.grant_write_artifacts(below(s3_keys.HOSTING))
        deploy.grant_read_artifact_tags(below(s3_keys.HOSTING))
        deploy.grant_delete_artifacts(below(s3_keys.HOSTING))  # a retired bundle, before it is built again
        self._hosting.grant_manage(deploy)
        smoke_test.grant_table_access(
            "GetItem", "PutItem", "UpdateItem", partitions=(RUNS, MODELS, POINTERS, HOSTING)
        )
        self._hosting.grant_manage(smoke_test)  # to return to the version that was live
        self._hosting.grant_invoke(smoke_test)

    def _configure_collect_garbage(self, collect_garbage: Function) -> None:
        collect_garbage.grant_table_access(
            *("GetItem", "Query", "UpdateItem"), partitions=(RUNS, MODELS, POINTERS, HOSTING, BATCHES)
        )
        collect_garbage.grant_list_artifacts(
            below(s3_keys.HOSTING),
            below(s3_keys.TRANSFORM_MODELS),
            below(s3_keys.BASE_MODELS),
            below(s3_keys.RUNS),
        )
        collect_garbage.grant_delete_artifacts(
            below(s3_keys.HOSTING),
            below(s3_keys.TRANSFORM_MODELS),
            below(s3_keys.BASE_MODELS),
            below(s3_keys.checkpoints("*")),
            below(s3_keys.merged("*")),
        )
        collect_garbage.grant_tag_artifacts(below(s3_keys.HOSTING))
        self._hosting.grant_delete_unused(collect_garbage)

    def _configure_endings(self, announce: Function, record_failure: Function) -> None:
        announce.grant_table_access(
            "UpdateItem", partitions=[POINTERS]
        )  # the stories that the run trained on
        for function in (announce, record_failure):
            function.grant_table_access("GetItem", "UpdateItem", "DeleteItem", partitions=(RUNS, LOCK, TIMER))
            function.grant_publish(self._topic_arn)
        self._configure_page_address(announce)
        grant_read_job_logs(
            record_failure,
            "logs:DescribeLogStreams",
            "logs:GetLogEvents",
            jobs=(TRAINING_LOG, PROCESSING_LOG),
        )

    def _configure_page_address(self, function: Function) -> None:
        parameter = self._settings.names.page_url_parameter
        allow(function.role, ["ssm:GetParameter"], [arn("ssm", f"parameter{parameter}")])
        function.configure(PageAddress(page_url_parameter=parameter))
