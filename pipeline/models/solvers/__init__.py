"""How families are solved rather than trained: penalties by cross-validation, logistic and ridge regression, trees.

Pure functions of arrays; imports nothing of the project and no Keras. Begin with `pipeline/models/solvers/lbfgs.py`.
"""
