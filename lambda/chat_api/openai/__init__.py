"""OpenAI's requests and answers: their schemas, and how they are parsed."""
