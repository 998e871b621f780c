"""Tables, tests, pictures and a page, made only from records."""
