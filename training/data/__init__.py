"""Data sets in their published formats, all read into one kind of sample (sample.py).

training -> engine: these files know no model and no tokenizer, only files, words and masks.
"""
