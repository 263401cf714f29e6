"""The Chat stack: sign-in, API, page, and the endpoint manager that deletes an unused endpoint."""

from pathlib import Path

from aws_cdk import Aws, Duration, Environment, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from contracts import s3_keys, table_keys
from contracts.environment import AcceptedTokens, Api, FunctionNames, StateMachine, TokenLimit
from contracts.resource_names import TRAINING_LOG
from contracts.s3_keys import below
from contracts.settings import Settings
from contracts.table_keys import APPROVALS, BATCHES, HOSTING, KEYS, LOCK, MODELS, POINTERS, RUNS, USAGE
from stacks.chat.endpoint_guard import EndpointGuard
from stacks.chat.page import Page
from stacks.chat.rest_api import LONGEST_ANSWER, RestApi
from stacks.chat.sign_in import SignIn
from stacks.custom_resources.clean_up import made_at_run_time
from stacks.custom_resources.price_refresh import configure_billed_instances
from stacks.functions.function import Function
from stacks.functions.function_bundles import FunctionBundles
from stacks.grants.hosting import HostedEndpoint
from stacks.grants.job_logs import grant_read_job_logs
from stacks.grants.people import grant_append_audit, grant_manage_people, grant_read_people
from stacks.grants.spending import configure_run_costs, grant_write_ledger
from stacks.grants.transform_jobs import LONGEST_PACKING, Transforms
from stacks.permissions import allow, arn
from stacks.pipeline.stack import PipelineStack
from stacks.pipeline.state_machine import Pipeline
from stacks.references import S3_ENDPOINT, publish, published
from stacks.regions import web_adapter_layer
from stacks.storage.stack import StorageStack

_WEB_SERVER_PORT = "8080"
_ENDPOINT_MANAGER_EVERY = Duration.minutes(5)


class ChatStack(Stack):
    """Everything between a person and the endpoint."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        storage: StorageStack,
        pipeline: PipelineStack,
        bundles: FunctionBundles,
        built_page: Path,
        env: Environment,
    ) -> None:
        """Create the stack."""
        super().__init__(scope, id_, description="Storyloom: chat page and API", env=env)
        self._settings, self._bundles = settings, bundles
        self._storage = storage.import_into(self)
        hosting = pipeline.import_hosting_into(self)
        sign_in = SignIn(self, "SignIn", settings=settings)
        endpoint_manager = self._endpoint_manager(hosting)
        guard = EndpointGuard(self, "EndpointGuard", settings=settings, storage=self._storage)
        transforms = pipeline.import_transforms_into(self)
        start_batch = self._start_batch(transforms)
        machine = pipeline.import_machine_into(self)
        chat_api = self._chat_api(hosting, machine)
        self._grant_choose_versions(chat_api)
        grant_manage_people(chat_api, sign_in.pool)
        grant_append_audit(chat_api, self._storage.table_arn)
        for function in (endpoint_manager, chat_api):
            function.grant_publish(published(pipeline, self, "TopicArn"))  # messages about refused costs
        self._grant_batches(chat_api, endpoint_manager, transforms)
        machine.grant_describe_jobs(endpoint_manager)
        self._grant_invocations(chat_api, endpoint_manager, start_batch, pipeline.import_start_run_into(self))
        authorizer = self._authorizer(sign_in)
        rest_api = RestApi(
            self, "Api", settings=self._settings, api=chat_api.function, authorizer=authorizer.function
        )
        page = Page(
            self,
            "Page",
            settings=settings,
            storage=self._storage,
            api=rest_api.api,
            client_id=sign_in.client.user_pool_client_id,
            built_page=built_page,
        )
        made_at_run_time(
            self,
            clean_up_arn=pipeline.import_clean_up_into(self),
            part="hosting",
            properties={"PageBucket": page.bucket.bucket_name},
            # Everything that starts an endpoint or a batch invokes these functions, and so is deleted before
            # them. The page's files are created after the clean-up, which can then remove them however late a
            # creation fails.
            makers=(endpoint_manager.function, start_batch.function, page.files),
        )
        # The pipeline creates an endpoint only if this parameter exists, so it exists only with the
        # endpoint manager.
        address = ssm.StringParameter(
            self,
            "PageAddress",
            parameter_name=settings.names.page_url_parameter,
            string_value=page.url,
            description="Storyloom: address of the page, for links in messages",
        )
        address.node.add_dependency(
            endpoint_manager.function, self.node.find_child("EndpointManagerTick"), guard.rule
        )
        publish(self, "PageUrl", page.url, "The chat page")
        publish(self, "ApiUrl", rest_api.api.url.rstrip("/"), "Address of the API, without /api")
        publish(self, "ApiName", rest_api.api.rest_api_name, "Name of the API in CloudWatch's metrics")
        publish(self, "UserPoolId", sign_in.pool.user_pool_id, "User pool of the people who may sign in")
        publish(self, "UserPoolClientId", sign_in.client.user_pool_client_id, "The page, for Cognito")
        publish(
            self,
            "EndpointManagerFunctionName",
            endpoint_manager.function.function_name,
            "Starts the endpoint and deletes it if unused",
        )
        publish(self, "EndpointName", settings.name, "The endpoint, which exists only while it is used")
        publish(
            self, "DistributionId", page.distribution.distribution_id, "CloudFront distribution of the page"
        )

    def _function(self, name: str, timeout: Duration, memory_mb: int = 512) -> Function:
        return Function(
            self,
            name,
            settings=self._settings,
            bundles=self._bundles,
            storage=self._storage,
            timeout=timeout,
            memory_mb=memory_mb,
        )

    def _endpoint_manager(self, hosting: HostedEndpoint) -> Function:
        endpoint_manager = self._function("endpoint_manager", Duration.minutes(2))
        endpoint_manager.grant_table_access(
            "GetItem", "UpdateItem", partitions=(LOCK, POINTERS, HOSTING, BATCHES, RUNS, USAGE)
        )
        hosting.grant_manage(endpoint_manager)
        hosting.grant_scale(endpoint_manager)
        allow(
            endpoint_manager.role,
            ["lambda:GetAccountSettings"],
            ["*"],
            wildcard_because="the settings are the account's: how many functions it may run at once",
        )
        grant_write_ledger(endpoint_manager, self._settings, endpoint=True)
        events.Rule(
            self,
            "EndpointManagerTick",
            description="Storyloom: deletes an unused endpoint",
            schedule=events.Schedule.rate(_ENDPOINT_MANAGER_EVERY),
            targets=[
                targets.LambdaFunction(
                    endpoint_manager.function, event=events.RuleTargetInput.from_object({"action": "tick"})
                )
            ],
        )
        return endpoint_manager

    def _chat_api(self, hosting: HostedEndpoint, machine: Pipeline) -> Function:
        layer_arn = web_adapter_layer(Aws.PARTITION, Aws.REGION)
        chat_api = Function(
            self,
            "chat_api",
            settings=self._settings,
            bundles=self._bundles,
            storage=self._storage,
            timeout=LONGEST_ANSWER,
            memory_mb=1024,
            handler="run.sh",
            layers=[lambda_.LayerVersion.from_layer_version_arn(self, "WebAdapter", layer_arn)],
            environment={
                "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
                "AWS_LWA_INVOKE_MODE": "response_stream",
                "AWS_LWA_PORT": _WEB_SERVER_PORT,
                "AWS_LWA_READINESS_CHECK_PATH": "/api/health",
            },
        )
        chat_api.grant_table_access(
            *("BatchGetItem", "GetItem", "Query", "UpdateItem"),
            partitions=(
                *(
                    RUNS,
                    APPROVALS,
                    MODELS,
                    POINTERS,
                    HOSTING,
                    BATCHES,
                    table_keys.batches_of("*"),
                    KEYS,
                ),
                *(
                    USAGE,
                    table_keys.usage_of("*"),
                    table_keys.answer_partition("*"),
                    table_keys.repeated_requests("*"),
                ),
            ),
        )
        chat_api.grant_table_access("PutItem", partitions=[table_keys.batches_of("*")])
        s3_endpoint = "" if self._settings.browser_endpoint else S3_ENDPOINT
        chat_api.configure(
            StateMachine(state_machine_arn=machine.arn),
            Api.from_settings(self._settings, s3_endpoint=s3_endpoint),
            TokenLimit(daily_tokens=self._settings.daily_tokens_per_person),
        )
        hosting.grant_invoke(chat_api, streaming=True)
        grant_write_ledger(chat_api, self._settings)
        configure_run_costs(chat_api, self._settings)
        configure_billed_instances(chat_api, self._settings)
        allow(
            chat_api.role,
            ["states:GetExecutionHistory", "states:StopExecution"],
            [machine.executions_arn],
            wildcard_because="an execution is named by its run",
        )
        machine.grant_task_response(chat_api)
        machine.grant_describe_tuning(chat_api)
        allow(chat_api.role, ["s3:ListBucket"], [self._storage.stories_arn])
        allow(
            chat_api.role,
            # Deleting a story adds a marker. Nobody has s3:DeleteObjectVersion, which would lose it.
            ["s3:PutObject", "s3:DeleteObject"],
            [self._storage.stories()],
            wildcard_because="a person names their stories as they like; the presigned form allows one key",
        )
        chat_api.grant_list_artifacts(below(s3_keys.RUNS))
        chat_api.grant_read_artifacts(
            s3_keys.report("*"), s3_keys.report_page("*"), s3_keys.evaluation_page("*")
        )
        grant_read_job_logs(chat_api, "logs:FilterLogEvents", jobs=(TRAINING_LOG,))
        return chat_api

    def _grant_invocations(
        self, chat_api: Function, endpoint_manager: Function, start_batch: Function, start_run: str
    ) -> None:
        """Allow the API to start the endpoint, batches and runs, and to activate another version."""
        called = [endpoint_manager.arn, start_batch.arn, arn("lambda", f"function:{start_run}")]
        allow(chat_api.role, ["lambda:InvokeFunction"], called)
        functions = FunctionNames(
            endpoint_manager_function=endpoint_manager.function.function_name,
            start_run_function=start_run,
            start_batch_function=start_batch.function.function_name,
        )
        chat_api.configure(functions)

    def _grant_choose_versions(self, chat_api: Function) -> None:
        """Allow the API to approve or reject a version in the registry."""
        allow(
            chat_api.role,
            ["sagemaker:UpdateModelPackage"],
            [arn("sagemaker", f"model-package/{self._settings.name}/*")],
            wildcard_because="the registry numbers the packages of the group",
        )

    def _start_batch(self, transforms: Transforms) -> Function:
        start_batch = self._function("start_batch", LONGEST_PACKING, memory_mb=1769)
        start_batch.grant_table_access("GetItem", "UpdateItem", partitions=(HOSTING, BATCHES))
        start_batch.grant_list_artifacts(below(s3_keys.HOSTING), below(s3_keys.TRANSFORM_MODELS))
        start_batch.grant_read_artifacts(below(s3_keys.HOSTING))
        start_batch.grant_write_artifacts(below(s3_keys.TRANSFORM_MODELS))
        transforms.grant_create(start_batch)
        return start_batch

    def _grant_batches(self, chat_api: Function, endpoint_manager: Function, transforms: Transforms) -> None:
        """Allow the API to read prompts and return answers, and the endpoint manager to end jobs."""
        transforms.grant_stop(endpoint_manager)
        transforms.grant_list_jobs(endpoint_manager)
        transforms.grant_stop(chat_api)
        transforms.configure_speeds(chat_api)
        chat_api.grant_list_artifacts(below(s3_keys.TRANSFORM_BATCHES))
        chat_api.grant_read_artifacts(below(s3_keys.TRANSFORM_BATCHES))
        chat_api.grant_write_artifacts(below(s3_keys.TRANSFORM_BATCHES))

    def _authorizer(self, sign_in: SignIn) -> Function:
        authorizer = self._function("authorizer", Duration.seconds(15), memory_mb=512)
        authorizer.grant_table_access("GetItem", partitions=[KEYS])
        grant_read_people(authorizer, sign_in.pool)
        group = AcceptedTokens(
            user_pool_id=sign_in.pool.user_pool_id, user_pool_client_id=sign_in.client.user_pool_client_id
        )
        authorizer.configure(group)
        return authorizer
