"""Which candidate wins, by answers for rows that no answering model was trained on, and how sure that is.

Imports what is below `evaluation`, and that. Begin with `choice.py`.
"""
