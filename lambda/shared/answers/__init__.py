"""Answers being written: how many, how much, and which are cancelled."""
