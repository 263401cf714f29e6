"""The endpoint: its state, its instances, and its changes from one configuration to another."""
