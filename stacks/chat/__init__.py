"""The Chat stack: sign-in, API, page, and what lets the endpoint sleep."""
