"""Few numbers for many: codes of autoencoders beside PCA, truncated SVD and t-SNE.

Imports `training`, `models`, `inference`, `inputs`, `metrics` and `reports`, never a room above or beside
it. Begin with `pipeline/reduction/methods.py`, then `pipeline/reduction/comparison.py`.
"""
