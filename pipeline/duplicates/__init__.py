"""Exact and near copies of images, texts and series, and the clusters that they form.

Imports no other room: arrays come in, clusters go out. Begin with `pipeline/duplicates/clusters.py`, then the
file of your kind of data.
"""
