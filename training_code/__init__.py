"""What runs inside SageMaker's containers: `train.py`, `evaluate.py` and what they share.

No AWS API is called here and no other room is imported: jobs run with network isolation, with only what the
Hugging Face training image carries (torch 2.9, transformers 5.3, peft 0.18; nothing can be installed).
"""
