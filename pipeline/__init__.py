"""Millrace: from a team's own data to a judged, registered and rebuildable model."""
