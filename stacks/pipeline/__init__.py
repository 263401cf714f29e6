"""The Pipeline stack: from stories in the bucket to a hosted model."""
