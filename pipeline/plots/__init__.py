"""Pictures of the evaluation."""
