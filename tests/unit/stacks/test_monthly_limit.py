"""Under a limit every instance that the settings allow has a price, or synth reports it."""

from contracts.instances import GPU_OF_INSTANCE
from contracts.settings import Settings
from stacks.composition import unpriced_instances

WITHOUT = "ml.p5.4xlarge"
"""AWS's price list had no training on it when the start prices were read."""


def test_each_allowed_instance_has_a_price_or_is_refused_with_the_cure() -> None:
    refused = {}
    for instance in GPU_OF_INSTANCE:
        told = unpriced_instances(Settings(training_instance=instance, hosting_instance=instance))
        if told:
            refused[instance] = told
    assert list(refused) == [WITHOUT]
    for words in (f"The price of {WITHOUT} for training", "monthly_limit_usd ($50)", "instance_prices_usd"):
        assert words in refused[WITHOUT][0]


def test_a_given_price_or_no_limit_is_enough() -> None:
    given = Settings(training_instance=WITHOUT, instance_prices_usd={WITHOUT: 9.5})
    assert unpriced_instances(given) == []
    assert unpriced_instances(Settings(training_instance=WITHOUT, monthly_limit_usd=0)) == []
