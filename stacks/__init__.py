"""The stacks of the app: what `cdk deploy` makes in an account."""
