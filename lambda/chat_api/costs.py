"""What the endpoint has cost this month."""

from shared import clock, environment, meter


def this_month_usd() -> float | None:
    """Return US dollars since the month began (UTC), with what runs now; None where a price is not known."""
    prices = environment.read(environment.Prices).hosting_prices
    seconds = meter.seconds_this_month(meter.read(), clock.now())
    if not seconds.keys() <= prices.keys():
        return None
    return round(sum(prices[instance] * length / 3600 for instance, length in seconds.items()), 4)


def price_date() -> str:
    """Return of what month the prices are, as `2026-09`."""
    return environment.read(environment.Prices).price_date
