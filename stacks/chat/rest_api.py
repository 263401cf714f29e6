"""The REST API: one streaming function behind API Gateway, closed to who has neither sign-in nor key."""

import json

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from contracts.settings import Settings
from stacks.accepted_findings import LOG_GROUP, OPEN_METHOD, STAGE_FINDINGS, accept_findings
from stacks.chat.edge import REFUSALS, RESPONSE_HEADERS
from stacks.functions.functions import LOG_RETENTION
from stacks.permissions import acknowledge

STAGE = "prod"
LONGEST_ANSWER = Duration.minutes(15)
"""As long as API Gateway and Lambda allow: a stream may wait for a model that is being woken."""
_REQUESTS_A_SECOND, _BURST = 20, 40
_HEALTH_REQUESTS_A_SECOND, _HEALTH_BURST = 2, 5
"""Of the one method that needs no sign-in. API Gateway counts each method apart from the others."""
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
"""A line of the access log, without who asked."""
FAULTS_PATTERN = '{ ($.status = "5*") && ($.status != "503") && ($.functionStatus != "502") }'
"""The lines that tell of a fault. API Gateway's own metric also counts the 503 while a model is woken, and
the 502 with which the function says that the model broke off: the endpoint has its own alarm for that."""
FAULTS_METRIC = "ApiFaults"
"""Name of the metric that counts them; its namespace is the app's."""


class RestApi(Construct):
    """`/api/health` for everybody, everything else below `/api` for who has a sign-in or a key."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        api: lambda_.IFunction,
        authorizer: lambda_.IFunction,
    ) -> None:
        """Make the API.

        Args:
            scope: where.
            id_: of the construct.
            settings: of the app.
            api: function that answers through the Lambda Web Adapter.
            authorizer: function that checks a bearer token or key.
        """
        super().__init__(scope, id_)
        log_group = logs.LogGroup(
            self, "AccessLog", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        accept_findings(log_group, LOG_GROUP)
        log_group.add_metric_filter(
            "Faults",
            filter_pattern=logs.FilterPattern.literal(FAULTS_PATTERN),
            metric_namespace=settings.title,
            metric_name=FAULTS_METRIC,
        )
        self.api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=f"{scope.node.id} API",
            description="Storyloom's API",
            endpoint_configuration=apigateway.EndpointConfiguration(
                types=[
                    apigateway.EndpointType.REGIONAL
                ]  # edge-optimized ones cut a stream after 30 s of silence
            ),
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_rate_limit=_REQUESTS_A_SECOND,
                throttling_burst_limit=_BURST,
                access_log_destination=apigateway.LogGroupLogDestination(log_group),
                access_log_format=apigateway.AccessLogFormat.custom(ACCESS_LOG_FORMAT),
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,  # it would write prompts and answers into the log
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
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN,  # an account has one, all its APIs use it
        )
        accept_findings(self.api.deployment_stage, STAGE_FINDINGS)
        self._own_execution_log()
        self.api.node.try_remove_child("Endpoint")  # an output of the construct's own, beside ours
        self._routes(api, authorizer)
        self._refusals()
        self._acknowledge()

    def _own_execution_log(self) -> None:
        """Make the log group of API Gateway's own name for it: one that it makes would outlive the stack."""
        log_group = logs.LogGroup(
            self,
            "ExecutionLog",
            log_group_name=f"API-Gateway-Execution-Logs_{self.api.rest_api_id}/{STAGE}",
            retention=LOG_RETENTION,
            removal_policy=RemovalPolicy.DESTROY,
        )
        accept_findings(log_group, LOG_GROUP)
        # Before the first call, and still there until the last.
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
            results_cache_ttl=Duration.seconds(0),  # an expired sign-in or a revoked key is refused at once
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
            "the function validates every request against its typed models and says what is wrong in the "
            "API's own form, which API Gateway's validator cannot",
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
            "API Gateway takes one logging role an account, with this policy, which AWS keeps for it",
        )
