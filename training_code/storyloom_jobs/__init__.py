"""Code of the SageMaker jobs: `training` makes a LoRA adapter, `evaluation` compares it with other models.

The folder above is the jobs' `code` channel; its `train.py` and `evaluate_models.py` start the two jobs.
Nothing here calls an AWS API or imports another room: jobs run with network isolation and can install
nothing, so every import must be part of the Hugging Face training image (`tests/container/requirements.txt`
lists it).
"""
