"""The Lambda functions: their code, their packages, and their construct."""
