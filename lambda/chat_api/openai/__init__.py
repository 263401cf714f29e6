"""OpenAI's protocol: requests, answers, streams and strict JSON."""
