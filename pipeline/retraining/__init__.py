"""What `millrace retrain` is made of: a second working tree, a journal, triggers, drift, history, notification."""
