"""The store in a bucket of any server that speaks S3.

access.py      which server, which credentials: the AWS variables and files
signing.py     the signature of a request
connection.py  one signed request, repeated where it may be, refused in words
listing.py     keys, page by page
transfer.py    many requests at once: multipart up, ranges down
records.py     records that are made only once, compared and swapped, removed
growing.py     records made piece by piece
store.py       S3Store, the `ObjectStore`

Plain S3 is asked for nothing but get, put, conditional put, head, ranges, list and multipart.
"""
