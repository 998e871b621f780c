"""The recipe: K searches, their average, and final finetuning with alpha fixed."""
