"""Datasets in LangSmith. Publishing shares the account, its errors and the form of an example.

The package `langsmith`, the official client, is imported when it is used: most runs never need it.
"""
