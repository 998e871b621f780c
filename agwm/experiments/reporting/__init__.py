"""Tables, tests, pictures and a page, from records alone."""
