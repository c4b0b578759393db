"""The model card: what a person reads of a version before it is trusted, as one Markdown page, a module for each part.

Its parts follow M. Mitchell et al., Model Cards for Model Reporting, 2019, in a lender's words.
"""
