"""The rules of stage check: parameters that are valid one by one and impossible together.

Imports `params`, and of `fetching`, `features` and `pipeline/models/layers` only what needs no TensorFlow;
never a room above or beside it. Begin with `pipeline/checks/contradictions.py`.
"""
