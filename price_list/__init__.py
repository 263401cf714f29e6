"""What SageMaker's instances cost an hour: the prices known here, and AWS's Price List API.

Stacks, functions, the command line and the local cloud read prices here; it imports none of them.
"""
