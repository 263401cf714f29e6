"""The endpoint: its state, its machines, and how it is moved from one configuration to another."""
