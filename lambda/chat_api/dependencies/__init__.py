"""What a request meets before its route: identity, limits, errors, headers."""
