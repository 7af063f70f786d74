"""A STAC server for trying out and testing: an AUXIP station and a catalog in one process.

It must never be offered as anything else: it keeps everything in SQLite, serves one request at a time, knows no
users, and obeys whoever asks it to answer wrongly.
"""
