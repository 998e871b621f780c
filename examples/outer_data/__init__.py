"""What the examples with outer data of their own share: the methods, the runs and the table."""
