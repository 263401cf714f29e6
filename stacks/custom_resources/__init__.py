"""Custom resources: what functions do for CloudFormation at deployment and deletion."""
