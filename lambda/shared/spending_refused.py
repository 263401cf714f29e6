"""Why something that costs may not begin, and what helps."""


class SpendingRefused(Exception):  # noqa: N818 - a refusal, not a fault
    """Something that costs may not begin; the text says why, and `cure` what helps."""

    code: str
    cure: str


class LimitReached(SpendingRefused):
    """The month's sum would pass its limit."""

    code = "monthly_limit_reached"
    cure = (
        "Wait for the next month (UTC), or raise monthly_limit_usd in cdk.json and deploy it: "
        "npx cdk deploy --all. storyloom costs shows what the month was spent on."
    )

    def __init__(
        self, what: str, *, spent_usd: float, reserved_usd: float, asked_usd: float, limit_usd: float
    ) -> None:
        """Say what was asked for, and what is left."""
        self.spent_usd, self.reserved_usd = spent_usd, reserved_usd
        self.asked_usd, self.limit_usd = asked_usd, limit_usd
        left = max(0.0, limit_usd - spent_usd - reserved_usd)
        super().__init__(
            f"{what} may cost up to ${asked_usd:.2f}, and ${left:.2f} is left of the month's limit of "
            f"${limit_usd:.2f}: ${spent_usd:.2f} is spent and ${reserved_usd:.2f} is reserved for what runs."
        )


class PriceUnknown(SpendingRefused):
    """Under a limit nothing begins on an instance whose price is not known."""

    code = "price_unknown"

    def __init__(self, what: str, instance: str, setting: str = "") -> None:
        """Name the instance, and the setting that chose it if that is known."""
        another = f"with the setting {setting}" if setting else f"than {instance}"
        self.cure = (
            "Give its price an hour as instance_prices_usd in cdk.json and deploy it (storyloom doctor asks "
            f"AWS for the price), or choose another instance {another}."
        )
        super().__init__(
            f"{what} needs {instance}, whose price is not known: its cost cannot be kept within the month's "
            "limit."
        )
