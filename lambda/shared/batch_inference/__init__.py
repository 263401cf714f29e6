"""Batches of prompts, answered by SageMaker transform jobs."""
