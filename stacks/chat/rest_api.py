"""The REST API: one streaming function behind API Gateway, for callers with a sign-in or an API key."""

import json

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from contracts.settings import Settings
from stacks.accepted_findings import LOG_GROUP, OPEN_METHOD, STAGE_FINDINGS, accept_findings
from stacks.chat.edge import REFUSALS, RESPONSE_HEADERS
from stacks.functions.function import LOG_RETENTION
from stacks.permissions import acknowledge

STAGE = "prod"
LONGEST_ANSWER = Duration.minutes(15)
"""The most that API Gateway and Lambda allow: a stream may wait for the endpoint to start."""
_REQUESTS_A_SECOND, _BURST = 20, 40
_HEALTH_REQUESTS_A_SECOND, _HEALTH_BURST = 2, 5
"""Limits of the only method that needs no sign-in. API Gateway counts each method separately."""
ACCESS_LOG_FORMAT = json.dumps(
    {
        "requestId": "$context.requestId",
        "ip": "$context.identity.sourceIp",
        "requestTime": "$context.requestTime",
        "httpMethod": "$context.httpMethod",
        "resourcePath": "$context.resourcePath",
        "protocol": "$context.protocol",
        "status": "$context.status",
        "functionStatus": "$context.integration.status",
        "responseLength": "$context.responseLength",
    }
)
"""A line of the access log, without the caller's identity."""
FAULTS_PATTERN = '{ ($.status = "5*") && ($.status != "503") && ($.functionStatus != "502") }'
"""Matches the log lines of faults. API Gateway's own metric also counts the 503 while the endpoint starts,
and the function's 502 for a failure of the model, for which the endpoint has an alarm of its own."""
FAULTS_METRIC = "ApiFaults"
"""Name of the metric that counts faults, in the app's namespace."""


class RestApi(Construct):
    """The API: `/api/health` is open, everything else below `/api` needs a sign-in or an API key."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        api: lambda_.IFunction,
        authorizer: lambda_.IFunction,
    ) -> None:
        """Create the API.

        Args:
            scope: the stack.
            id_: of the construct.
            settings: of the app.
            api: function that serves requests through the Lambda Web Adapter.
            authorizer: function that checks a token or an API key.
        """
        super().__init__(scope, id_)
        log_group = logs.LogGroup(
            self, "AccessLog", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        accept_findings(log_group, LOG_GROUP)
        log_group.add_metric_filter(
            "Faults",
            filter_pattern=logs.FilterPattern.literal(FAULTS_PATTERN),
            metric_namespace=settings.names.title,
            metric_name=FAULTS_METRIC,
        )
        self.api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=f"{scope.node.id} API",
            description="Storyloom's API",
            endpoint_configuration=apigateway.EndpointConfiguration(
                # An edge-optimized endpoint would cut a stream after 30 seconds without data.
                types=[apigateway.EndpointType.REGIONAL]
            ),
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_rate_limit=_REQUESTS_A_SECOND,
                throttling_burst_limit=_BURST,
                access_log_destination=apigateway.LogGroupLogDestination(log_group),
                access_log_format=apigateway.AccessLogFormat.custom(ACCESS_LOG_FORMAT),
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,  # it would log prompts and answers
                metrics_enabled=True,
                method_options={
                    "/api/health/GET": apigateway.MethodDeploymentOptions(
                        throttling_rate_limit=_HEALTH_REQUESTS_A_SECOND,
                        throttling_burst_limit=_HEALTH_BURST,
                        logging_level=apigateway.MethodLoggingLevel.ERROR,
                        data_trace_enabled=False,
                        metrics_enabled=True,
                    )
                },
            ),
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN,  # all APIs of an account share one
        )
        accept_findings(self.api.deployment_stage, STAGE_FINDINGS)
        self._create_execution_log()
        self.api.node.try_remove_child("Endpoint")  # the construct's own output, which repeats ours
        self._routes(api, authorizer)
        self._refusals()
        self._acknowledge()

    def _create_execution_log(self) -> None:
        """Create the log group that API Gateway would create itself: its own would outlive the stack."""
        log_group = logs.LogGroup(
            self,
            "ExecutionLog",
            log_group_name=f"API-Gateway-Execution-Logs_{self.api.rest_api_id}/{STAGE}",
            retention=LOG_RETENTION,
            removal_policy=RemovalPolicy.DESTROY,
        )
        accept_findings(log_group, LOG_GROUP)
        # So that it exists before the first request and until the last.
        self.api.deployment_stage.node.add_dependency(log_group)

    def _routes(self, api: lambda_.IFunction, authorizer: lambda_.IFunction) -> None:
        streaming = apigateway.LambdaIntegration(
            api,
            response_transfer_mode=apigateway.ResponseTransferMode.STREAM,
            timeout=LONGEST_ANSWER,
            scope_permission_to_method=False,
        )
        signed_in = apigateway.RequestAuthorizer(
            self,
            "SignedIn",
            handler=authorizer,
            identity_sources=[apigateway.IdentitySource.header("Authorization")],
            results_cache_ttl=Duration.seconds(0),  # a revoked key or an expired sign-in is refused at once
        )
        root = self.api.root.add_resource("api")
        health = root.add_resource("health")
        open_method = health.add_method("GET", streaming)
        rest = root.add_resource("{proxy+}")
        closed = rest.add_method(
            "ANY", streaming, authorizer=signed_in, authorization_type=apigateway.AuthorizationType.CUSTOM
        )
        accept_findings(open_method, OPEN_METHOD)
        acknowledge(open_method, "AwsSolutions-APIG4", "the health check says only that the API is up")
        acknowledge(open_method, "AwsSolutions-COG4", "the health check says only that the API is up")
        acknowledge(
            closed,
            "AwsSolutions-COG4",
            "a Lambda authorizer checks the same Cognito token, and programs' API keys, which a Cognito "
            "authorizer cannot",
        )

    def _refusals(self) -> None:
        for refusal in REFUSALS:
            self.api.add_gateway_response(
                refusal.kind.title().replace("_", ""),
                type=apigateway.ResponseType.of(refusal.kind),
                status_code=str(refusal.status),
                templates={"application/json": refusal.body},
                response_headers={name: f"'{value}'" for name, value in RESPONSE_HEADERS.items()},
            )

    def _acknowledge(self) -> None:
        acknowledge(
            self.api,
            "AwsSolutions-APIG2",
            "the function validates every request against its typed models and returns the API's own "
            "errors, which API Gateway's validator cannot",
        )
        acknowledge(
            self.api.deployment_stage,
            "AwsSolutions-APIG3",
            "a web ACL costs more each month than the app at rest; requests are throttled and signed in",
        )
        role = self.api.node.find_child("CloudWatchRole")
        acknowledge(
            role,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs]",
            "API Gateway uses one logging role for an account, with this policy of AWS",
        )
