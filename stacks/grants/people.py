"""Grant functions access to the people in the user pool and to the audit trail."""

from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam

from contracts import table_keys
from contracts.environment import UserPool
from stacks.functions.function import Function
from stacks.permissions import allow

_READ = ("AdminGetUser", "AdminListGroupsForUser")
_CHANGE = (
    "ListUsers",
    "ListUsersInGroup",
    "AdminCreateUser",
    "AdminAddUserToGroup",
    "AdminRemoveUserFromGroup",
    "AdminDisableUser",
    "AdminUserGlobalSignOut",
    "AdminDeleteUser",
)


def grant_read_people(function: Function, pool: cognito.UserPool) -> None:
    """Grant a function permissions to read whether a person is enabled, and their role."""
    _grant(function, pool, _READ)


def grant_manage_people(function: Function, pool: cognito.UserPool) -> None:
    """Grant a function permissions to list, invite and remove people and to change their roles.

    It may set neither a password nor an attribute such as the e-mail address.
    """
    _grant(function, pool, (*_READ, *_CHANGE))
    function.grant_table_access("UpdateItem", partitions=[table_keys.PEOPLE])


def grant_append_audit(function: Function, table_arn: str) -> None:
    """Grant a function permissions to read and append to the audit trail, and deny updates and deletions.

    IAM cannot tell a put of a new item from one that replaces an item, so the function itself puts entries
    with a condition that none is replaced.
    """
    function.grant_table_access("PutItem", "Query", partitions=[table_keys.AUDIT])
    function.role.add_to_policy(
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=["dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            resources=[table_arn],
            conditions={"ForAnyValue:StringEquals": {"dynamodb:LeadingKeys": [table_keys.AUDIT]}},
        )
    )


def _grant(function: Function, pool: cognito.UserPool, operations: tuple[str, ...]) -> None:
    allow(function.role, [f"cognito-idp:{operation}" for operation in operations], [pool.user_pool_arn])
    function.configure(UserPool(user_pool_id=pool.user_pool_id))
