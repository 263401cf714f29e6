"""What a check of an account reads: who may do what, and what carries which tag, over all services."""

from local.plugin import ministack_iam, ministack_tagging
from local.plugin.sagemaker.store import STORE


def install() -> None:
    """Change IAM's simulator and the tagging API of this process's MiniStack."""
    ministack_iam.simulate_strictly()
    ministack_tagging.collect_other_services()
    ministack_tagging.collect("sagemaker", STORE.tagged)
    ministack_tagging.answer_in_pages()
