"""One file per stage of dvc.yaml: `main` loads the parameters, one function tells the story.

May import every room but `commands`, and no stage imports another. Begin with `pipeline/stages/train.py`.
"""
