"""Base models and the versions that are trained on them."""
