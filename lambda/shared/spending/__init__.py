"""The month's ledger, prices, and what jobs and the endpoint cost."""
