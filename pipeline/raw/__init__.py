"""What a source hands over, and the rules that the samples of every source pass: spellings, answers, what is left out.

Begin with `sample.py`. A rule here holds for every kind of source, since all of them pass by.
"""
