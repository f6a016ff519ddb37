"""What reading from LangSmith and publishing to it have in common: the account, its errors, an example's form.

The package `langsmith`, the official client, is imported where it is used: most runs never need it.
"""
