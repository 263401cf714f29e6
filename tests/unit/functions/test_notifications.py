"""The message to the owner: its subject is one that an e-mail may have."""

import pytest

from shared import notifications
from tests.unit.functions.conftest import DeployedResources, Letters


@pytest.mark.aws_fact
def test_a_long_or_broken_subject_is_made_one_that_sns_takes(
    resources: DeployedResources, letters: Letters
) -> None:
    notifications.send("Storyloom: a run failed in\nBuild the dataset " + "é" * 100, "What happened")
    (letter,) = letters()
    assert len(letter["Subject"]) == 99
    assert letter["Subject"].startswith("Storyloom: a run failed in Build the dataset é")
