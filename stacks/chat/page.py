"""The chat page: static files behind CloudFront, with the API on the same origin."""

from pathlib import Path

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from contracts.settings import Settings
from stacks.accepted_findings import BUCKET, DISTRIBUTION, REPRODUCIBLE_BUCKET, accept_findings
from stacks.chat.edge import api_headers, edge_function, security_headers
from stacks.custom_resources.file_deployment import deploy_files
from stacks.permissions import acknowledge
from stacks.references import Storage

READ_TIMEOUT = Duration.seconds(60)
"""How long CloudFront waits for the API's first byte and between two packets; more needs a quota increase."""


class PageMissingError(Exception):
    """The page has not been built."""


class Page(Construct):
    """The page's bucket, its CloudFront distribution, and the `config.json` that the page reads."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        storage: Storage,
        api: apigateway.RestApi,
        client_id: str,
        built_page: Path,
    ) -> None:
        """Create the page.

        Args:
            scope: the stack.
            id_: of the construct.
            settings: of the app.
            storage: has the stories bucket, to which the browser uploads.
            api: serves `/api/*`.
            client_id: the page's client in the user pool.
            built_page: folder of the built page.

        Raises:
            PageMissingError: the folder has no built page; the message has the command that builds it.
        """
        super().__init__(scope, id_)
        if not (built_page / "index.html").is_file():
            raise PageMissingError(
                f"The page is not built: {built_page.name}/index.html is missing. Build it with: make web"
            )
        self._settings, self._storage = settings, storage
        # Names in CloudFront must be unique in the account, across its regions.
        self._global_name = settings.names.page(Aws.REGION)
        bucket = self.bucket = self._bucket()
        self.distribution = self._distribution(bucket, api)
        self.files = deploy_files(
            self,
            "Files",
            bucket=bucket,
            sources=[
                s3_deployment.Source.asset(str(built_page)),
                s3_deployment.Source.json_data("config.json", self._config(client_id)),
            ],
            prune=True,
            retain_on_delete=False,
            # The files are small: the browser checks each time for a change, so a deployment shows at once.
            cache_control=[
                s3_deployment.CacheControl.set_public(),
                s3_deployment.CacheControl.max_age(Duration.seconds(0)),
                s3_deployment.CacheControl.must_revalidate(),
            ],
        )
        # CloudFront refuses some new accounts. Then no files exist yet that would keep the bucket.
        self.files.node.add_dependency(self.distribution)

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._settings.browser_endpoint or f"https://{self.distribution.distribution_domain_name}"

    def _config(self, client_id: str) -> dict[str, str]:
        return {
            "region": Aws.REGION,
            "user_pool_client_id": client_id,
            "cognito_endpoint": f"{self._cognito}/",
        }

    @property
    def _cognito(self) -> str:
        local = self._settings.browser_endpoint
        return f"{local}/aws/cognito-idp" if local else f"https://cognito-idp.{Aws.REGION}.amazonaws.com"

    @property
    def _uploads(self) -> str:
        return self._settings.browser_endpoint or self._storage.stories_url

    def _bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            bucket,
            "AwsSolutions-S1",
            "it has the built page, which everybody may see, and only CloudFront reads it",
        )
        accept_findings(bucket, BUCKET, REPRODUCIBLE_BUCKET)
        return bucket

    def _distribution(self, bucket: s3.Bucket, api: apigateway.RestApi) -> cloudfront.Distribution:
        distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"{self._settings.names.title}: chat page",
            default_root_object="index.html",
            price_class=cloudfront.PriceClass.PRICE_CLASS_100,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(
                    bucket,
                    origin_access_control=cloudfront.S3OriginAccessControl(
                        self, "OriginAccess", origin_access_control_name=self._global_name
                    ),
                ),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
                compress=True,
                response_headers_policy=self._headers(),
            ),
            additional_behaviors={
                "/api/*": cloudfront.BehaviorOptions(
                    origin=origins.RestApiOrigin(api, read_timeout=READ_TIMEOUT),
                    viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
                    allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
                    cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
                    origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
                    compress=False,  # compressing would delay a stream
                    response_headers_policy=api_headers(self, f"{self._global_name}-api"),
                    function_associations=[
                        cloudfront.FunctionAssociation(
                            event_type=cloudfront.FunctionEventType.VIEWER_REQUEST,
                            function=edge_function(self, f"{self._global_name}-api"),
                        )
                    ],
                )
            },
        )
        for rule, reason in {
            "AwsSolutions-CFR1": "a writer may be anywhere",
            "AwsSolutions-CFR2": "a web ACL costs more a month than the app at rest; the API needs a sign-in",
            "AwsSolutions-CFR3": "it would need a second bucket; API Gateway logs every call of the API",
            "AwsSolutions-CFR4": "CloudFront fixes the policy of its own domain; another needs a certificate",
        }.items():
            acknowledge(distribution, rule, reason)
        accept_findings(distribution, DISTRIBUTION)
        return distribution

    def _headers(self) -> cloudfront.ResponseHeadersPolicy:
        policy = "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "img-src 'self' data:",
                "font-src 'self'",
                f"connect-src 'self' {self._cognito}/ {self._uploads}",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            response_headers_policy_name=self._global_name,
            comment="Storyloom: security headers of the page",
            security_headers_behavior=security_headers(policy),
        )
