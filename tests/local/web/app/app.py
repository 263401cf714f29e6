"""A small app with everything that stands between a browser and a function, for the local cloud's tests."""

import sys
from pathlib import Path
from typing import Any

from aws_cdk import (
    App,
    CfnOutput,
    DefaultStackSynthesizer,
    Duration,
    RemovalPolicy,
    Stack,
)
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment

from stacks.chat.rest_api import ACCESS_LOG_FORMAT, FAULTS_PATTERN

HERE = Path(__file__).parent
PYTHON = lambda_.Runtime(f"python3.{sys.version_info.minor}", lambda_.RuntimeFamily.PYTHON)
CSP = "default-src 'self'; frame-ancestors 'none'"
UNAUTHORIZED = (
    '{"error":{"type":"unauthorized","message":$context.error.messageString,"cure":"Sign in again."}}'
)

GUARD = """
function handler(event) {
    if (event.request.headers['x-password']) {
        return event.request;
    }
    return {statusCode: 418, headers: {'x-guard': {value: 'yes'}}, body: {encoding: 'text', data: 'No.'}};
}
"""
"""CloudFront's function in front of a part of the API."""


class WebStack(Stack):
    """One page, one streaming API, one authorizer, one place for uploads."""

    def __init__(self, scope: App, name: str) -> None:
        super().__init__(
            scope, name, synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
        )
        self.pool = cognito.UserPool(self, "Pool", self_sign_up_enabled=False)
        self.client = self.pool.add_client(
            "Page",
            auth_flows=cognito.AuthFlow(user_password=True),
            generate_secret=False,
            prevent_user_existence_errors=True,
        )
        self.strict_client = self.pool.add_client(
            "Strict",
            auth_flows=cognito.AuthFlow(user_password=True),
            generate_secret=False,
            write_attributes=cognito.ClientAttributes().with_standard_attributes(locale=True),
        )
        self._member()
        self.uploads = s3.Bucket(self, "Uploads", removal_policy=RemovalPolicy.DESTROY)
        self.site = s3.Bucket(self, "Site", removal_policy=RemovalPolicy.DESTROY)
        self.api = self._api()
        self.distribution = self._distribution()
        self._content()
        for output, value in {
            "ApiUrl": self.api.url,
            "UserPoolId": self.pool.user_pool_id,
            "UserPoolClientId": self.client.user_pool_client_id,
            "StrictClientId": self.strict_client.user_pool_client_id,
            "UploadsBucket": self.uploads.bucket_name,
            "SiteBucket": self.site.bucket_name,
            "DistributionId": self.distribution.distribution_id,
            "WebFunction": self.function.function_name,
            "AccessLogName": self.access_log.log_group_name,
            "AnyErrorAlarm": self._alarm("AnyError", self.api.metric_server_error()).alarm_name,
            "FaultAlarm": self._alarm("Fault", self.faults).alarm_name,
        }.items():
            CfnOutput(self, output, value=value)

    def _api(self) -> apigateway.RestApi:
        code = lambda_.Code.from_asset(str(HERE / "function"))
        self.function = lambda_.Function(
            self,
            "Web",
            runtime=PYTHON,
            handler="run.sh",
            code=code,
            timeout=Duration.seconds(8),
            memory_size=512,
            layers=[
                lambda_.LayerVersion.from_layer_version_arn(
                    self,
                    "Adapter",
                    f"arn:aws:lambda:{self.region}:753240598075:layer:LambdaAdapterLayerX86:25",
                )
            ],
            environment={
                "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
                "AWS_LWA_INVOKE_MODE": "response_stream",
                "AWS_LWA_READINESS_CHECK_PATH": "/api/health",
                "AWS_LWA_PORT": "8000",
                "UPLOADS_BUCKET": self.uploads.bucket_name,
                # On AWS the app's own modules would be in the package.
                "PYTHONPATH": str(HERE.parents[3] / "lambda"),
                "BROWSER_ENDPOINT": self.node.try_get_context("browser_endpoint") or "",
            },
        )
        self.uploads.grant_put(self.function)
        authorizer = apigateway.RequestAuthorizer(
            self,
            "Authorizer",
            handler=lambda_.Function(
                self,
                "Authorize",
                runtime=PYTHON,
                handler="authorizer.handler.handler",
                code=code,
                timeout=Duration.seconds(20),
                environment={
                    "USER_POOL_ID": self.pool.user_pool_id,
                    "USER_POOL_CLIENT_ID": self.client.user_pool_client_id,
                },
            ),
            identity_sources=[apigateway.IdentitySource.header("Authorization")],
            results_cache_ttl=Duration.minutes(5),
        )
        self.access_log = logs.LogGroup(self, "AccessLog", removal_policy=RemovalPolicy.DESTROY)
        self.faults = self.access_log.add_metric_filter(
            "Faults",
            filter_pattern=logs.FilterPattern.literal(FAULTS_PATTERN),
            metric_namespace="LocalWeb",
            metric_name="Faults",
        ).metric()
        api = apigateway.RestApi(
            self,
            "Api",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=True,
            deploy_options=apigateway.StageOptions(
                stage_name="live",
                access_log_destination=apigateway.LogGroupLogDestination(self.access_log),
                access_log_format=apigateway.AccessLogFormat.custom(ACCESS_LOG_FORMAT),
            ),
        )
        api.add_gateway_response(
            "Unauthorized",
            type=apigateway.ResponseType.UNAUTHORIZED,
            status_code="401",
            templates={"application/json": UNAUTHORIZED},
            response_headers={"Cache-Control": "'no-store'"},
        )
        stream = apigateway.LambdaIntegration(
            self.function, response_transfer_mode=apigateway.ResponseTransferMode.STREAM
        )
        root = api.root.add_resource("api")
        root.add_resource("health").add_method("GET", stream)
        root.add_proxy(
            default_integration=stream, default_method_options=apigateway.MethodOptions(authorizer=authorizer)
        )
        api.root.add_resource("whole").add_resource("{what}").add_method(
            "GET", apigateway.LambdaIntegration(self.function)
        )
        return api

    def _alarm(self, name: str, metric: cloudwatch.IMetric) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            name,
            metric=metric.with_(statistic="Sum", period=Duration.minutes(5)),  # type: ignore[attr-defined]
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _member(self) -> None:
        """Return a person of a template, in a group of it."""
        pool = self.pool.user_pool_id
        group = cognito.CfnUserPoolGroup(self, "Owners", user_pool_id=pool, group_name="owner", precedence=1)
        person = cognito.CfnUserPoolUser(
            self, "Member", user_pool_id=pool, username="member@example.com", message_action="SUPPRESS"
        )
        membership = cognito.CfnUserPoolUserToGroupAttachment(
            self, "Membership", user_pool_id=pool, username="member@example.com", group_name="owner"
        )
        for needed in (group, person):
            membership.add_dependency(needed)

    def _distribution(self) -> cloudfront.Distribution:
        headers = cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=CSP, override=True
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
            ),
        )
        return cloudfront.Distribution(
            self,
            "Page",
            default_root_object="index.html",
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(self.site),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                response_headers_policy=headers,
            ),
            additional_behaviors={
                "/api/hasty/*": self._to_api(read_timeout=Duration.seconds(3)),
                "/api/echo/guarded/*": self._guarded(),
                "/api/*": self._to_api(),
            },
            error_responses=[
                cloudfront.ErrorResponse(
                    http_status=403, response_http_status=200, response_page_path="/index.html"
                )
            ],
        )

    def _guarded(self) -> cloudfront.BehaviorOptions:
        headers = cloudfront.ResponseHeadersPolicy(
            self,
            "GuardedHeaders",
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                frame_options=cloudfront.ResponseHeadersFrameOptions(
                    frame_option=cloudfront.HeadersFrameOption.DENY, override=True
                ),
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=Duration.days(1), include_subdomains=True, override=True
                ),
            ),
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(header="Content-Type", value="text/own", override=True)
                ]
            ),
        )
        guard = cloudfront.Function(
            self,
            "Guard",
            code=cloudfront.FunctionCode.from_inline(GUARD),
            runtime=cloudfront.FunctionRuntime.JS_2_0,
        )
        return self._to_api(
            response_headers_policy=headers,
            function_associations=[
                cloudfront.FunctionAssociation(
                    event_type=cloudfront.FunctionEventType.VIEWER_REQUEST, function=guard
                )
            ],
        )

    def _to_api(self, read_timeout: Duration | None = None, **behaviour: Any) -> cloudfront.BehaviorOptions:
        return cloudfront.BehaviorOptions(
            **behaviour,
            origin=origins.RestApiOrigin(self.api, read_timeout=read_timeout),
            viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
            cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
            origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
            allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
        )

    def _content(self) -> None:
        greeting = self.node.try_get_context("greeting")
        deployment.BucketDeployment(
            self,
            "Files",
            destination_bucket=self.site,
            distribution=self.distribution,
            sources=[
                deployment.Source.asset(str(HERE / "site")),
                deployment.Source.json_data("config.json", {"client": self.client.user_pool_client_id}),
                *([deployment.Source.data("greeting.txt", greeting)] if greeting else []),
            ],
            cache_control=[
                deployment.CacheControl.set_public(),
                deployment.CacheControl.max_age(Duration.seconds(0)),
                deployment.CacheControl.must_revalidate(),
            ],
        )
        deployment.BucketDeployment(
            self,
            "Notes",
            destination_bucket=self.uploads,
            destination_key_prefix="notes",
            prune=False,
            retain_on_delete=False,
            sources=[deployment.Source.data("hello.txt", greeting or "from the deployment")],
        )
        self.site.add_to_resource_policy(
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["s3:*"],
                resources=[self.site.arn_for_objects("secret/*")],
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            )
        )


if __name__ == "__main__":
    app = App()
    WebStack(app, "LocalWeb")
    app.synth()
