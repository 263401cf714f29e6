"""The roles of people. Each is a group of the Cognito user pool."""

from typing import Final, Literal

READER: Final = "reader"
AUTHOR: Final = "author"
OWNER: Final = "owner"

Role = Literal["reader", "author", "owner"]
ROLES: tuple[Role, ...] = (READER, AUTHOR, OWNER)
"""The role that allows least comes first."""

GROUP_DESCRIPTIONS: dict[Role, str] = {
    READER: "Chats",
    AUTHOR: "Chats, sees and changes stories, runs and versions, has keys of their own",
    OWNER: "Everything, and manages people",
}
