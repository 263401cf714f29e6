"""Sizes and contents that AWS's services refuse in every account."""

from local.plugin import ministack_payloads


def install() -> None:
    """Have the MiniStack of this process refuse them."""
    ministack_payloads.limit_functions()
    ministack_payloads.check_subjects()
    ministack_payloads.require_log_role()
    ministack_payloads.refuse_to_delete_full_buckets()
