"""Sign-in by a Cognito user pool that nobody can join by themselves."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from contracts.roles import GROUP_DESCRIPTIONS, OWNER, ROLES
from contracts.settings import Settings
from stacks.permissions import acknowledge


class SignIn(Construct):
    """The user pool with the groups of its roles, the page's client, and the first owner."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        """Create the pool; `admin_email` becomes its first owner and gets a one-time password by e-mail."""
        super().__init__(scope, id_)
        self.pool = cognito.UserPool(
            self,
            "Users",
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            # Otherwise Ada@ and ada@ are two people, and removing one of them leaves the other.
            sign_in_case_sensitive=False,
            auto_verify=cognito.AutoVerifiedAttrs(email=True),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            password_policy=cognito.PasswordPolicy(
                min_length=12,
                require_lowercase=True,
                require_uppercase=True,
                require_digits=True,
                require_symbols=True,
                temp_password_validity=Duration.days(7),
            ),
            removal_policy=RemovalPolicy.DESTROY,  # people can be invited again
        )
        acknowledge(
            self.pool,
            "AwsSolutions-COG2",
            "the page cannot ask for a second factor, so one would lock people out; the pool has only people "
            "whom an owner invited",
        )
        acknowledge(
            self.pool,
            "AwsSolutions-COG8",
            "the Plus plan costs more for each user and month than this app at rest",
        )
        self.client = self.pool.add_client(
            "Page",
            auth_flows=cognito.AuthFlow(user_password=True),
            disable_o_auth=True,
            generate_secret=False,  # a page cannot keep a secret
            prevent_user_existence_errors=True,
            enable_token_revocation=True,
            # Approvals, keys and messages name people by their e-mail, so nobody may change theirs. Without
            # this list, or with an empty one, Cognito allows it. Nothing reads the attribute in it.
            write_attributes=cognito.ClientAttributes().with_standard_attributes(locale=True),
            id_token_validity=Duration.hours(1),
            access_token_validity=Duration.hours(1),
            refresh_token_validity=Duration.days(30),
        )
        groups = [
            cognito.CfnUserPoolGroup(
                self,
                f"{role.title()}s",
                user_pool_id=self.pool.user_pool_id,
                group_name=role,
                description=GROUP_DESCRIPTIONS[role],
                precedence=precedence,
            )
            for precedence, role in enumerate(reversed(ROLES), start=1)
        ]
        if settings.admin_email:
            person = cognito.CfnUserPoolUser(
                self,
                "FirstPerson",
                user_pool_id=self.pool.user_pool_id,
                username=settings.admin_email,
                desired_delivery_mediums=["EMAIL"],
                user_attributes=[
                    cognito.CfnUserPoolUser.AttributeTypeProperty(name="email", value=settings.admin_email),
                    cognito.CfnUserPoolUser.AttributeTypeProperty(name="email_verified", value="true"),
                ],
            )
            membership = cognito.CfnUserPoolUserToGroupAttachment(
                self,
                "FirstOwner",
                user_pool_id=self.pool.user_pool_id,
                username=settings.admin_email,
                group_name=OWNER,
            )
            for needed in (person, *groups):
                membership.add_dependency(needed)
