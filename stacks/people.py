"""Who may ask the user pool about people, who may change them, and who may write the audit trail."""

from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam

from stacks.functions import Function
from stacks.permissions import allow

GROUPS = {
    "owner": "Everything, and manages people",
    "author": "Chats, sees and changes stories, runs and versions, has keys of their own",
    "reader": "Chats",
}
"""The user pool's groups, the greatest role first; `lambda/shared/people.py` says what each allows."""
AUDIT_PARTITION = "AUDIT"
"""Partition of the table that the API's role adds to, and neither updates nor deletes from."""
_LOCK_PARTITION = "PEOPLE"
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
    """Let a function look up whether a person may come in, and in which role."""
    _grant(function, pool, _READ)


def grant_manage_people(function: Function, pool: cognito.UserPool) -> None:
    """Let a function list, invite and remove people and change their roles, one change at a time.

    Setting a password, or an attribute such as the address, is not among it.
    """
    _grant(function, pool, (*_READ, *_CHANGE))
    function.may_use_table("UpdateItem", partitions=[_LOCK_PARTITION])


def grant_append_audit(function: Function, table_arn: str) -> None:
    """Let a function read and add to the audit trail, and deny it to change or delete an entry.

    IAM cannot tell a new item from one that replaces another: that a put never replaces an entry is a
    condition of the request itself.
    """
    function.may_use_table("PutItem", "Query", partitions=[AUDIT_PARTITION])
    function.role.add_to_policy(
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=["dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            resources=[table_arn],
            conditions={"ForAnyValue:StringEquals": {"dynamodb:LeadingKeys": [AUDIT_PARTITION]}},
        )
    )


def _grant(function: Function, pool: cognito.UserPool, operations: tuple[str, ...]) -> None:
    allow(function.role, [f"cognito-idp:{operation}" for operation in operations], [pool.user_pool_arn])
    function.function.add_environment("STORYLOOM_USER_POOL_ID", pool.user_pool_id)
