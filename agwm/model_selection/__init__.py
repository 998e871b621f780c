"""Model selection: try methods on own rows by cross-validation, choose one, and train it on all rows."""
