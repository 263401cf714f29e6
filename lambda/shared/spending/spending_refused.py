"""The errors for paid work that is refused: each has a message with the reason, and a cure."""


class SpendingRefused(Exception):  # noqa: N818 - a refusal, not a fault
    """Paid work is refused; the message gives the reason, and `cure` what to do about it."""

    code: str
    cure: str


class LimitReached(SpendingRefused):
    """The month's total would exceed its limit."""

    code = "monthly_limit_reached"
    cure = (
        "Wait for the next month (UTC), or raise monthly_limit_usd in cdk.json and deploy it: "
        "npx --no-install cdk deploy --all. storyloom costs shows what the month was spent on."
    )

    def __init__(
        self, what: str, *, spent_usd: float, reserved_usd: float, asked_usd: float, limit_usd: float
    ) -> None:
        """Build the message from the requested amount and what is left of the limit."""
        self.spent_usd, self.reserved_usd = spent_usd, reserved_usd
        self.asked_usd, self.limit_usd = asked_usd, limit_usd
        left = max(0.0, limit_usd - spent_usd - reserved_usd)
        super().__init__(
            f"{what} may cost up to ${asked_usd:.2f}, and ${left:.2f} is left of the month's limit of "
            f"${limit_usd:.2f}: ${spent_usd:.2f} is spent and ${reserved_usd:.2f} is reserved for work in "
            "progress."
        )


class PriceUnknown(SpendingRefused):
    """There is a monthly limit, and the price of an instance is not known."""

    code = "price_unknown"

    def __init__(self, what: str, instance: str, setting: str = "") -> None:
        """Build the message from the instance and, if known, the setting that chose it."""
        another = f"with the setting {setting}" if setting else f"than {instance}"
        self.cure = (
            "Give its price an hour as instance_prices_usd in cdk.json and deploy it (storyloom doctor asks "
            f"AWS for the price), or choose another instance {another}."
        )
        super().__init__(
            f"{what} needs {instance}, whose price is not known: its cost cannot be kept within the month's "
            "limit."
        )
