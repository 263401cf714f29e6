"""The training job: fine-tunes a LoRA adapter on the examples."""
