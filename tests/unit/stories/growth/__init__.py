"""How the time of reading grows with what is read, on files that repeat whatever might be looked for again."""
