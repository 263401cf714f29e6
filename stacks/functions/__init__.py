"""The Lambda functions: their code, their packages, and the construct that makes one."""
