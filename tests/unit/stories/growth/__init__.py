"""How the time of reading grows with what is read, on files that repeat what may be looked for again."""
