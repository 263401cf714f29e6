"""Hourly prices of SageMaker's instances: those that ship with the app, and AWS's Price List API.

Stacks, functions, the command line and the local cloud import this package; it imports none of them.
"""
