"""The front desk's HTTP side, in front of PySyft: what is let in, how much, and from whom.

`connections` gives strangers so many places and so much time; `middleware` refuses a request by its
head, before its body is read; `login` answers every wrong password alike, and `rate_limit` slows
guesses; `blob_routes` carries large files beside PySyft.
May import `desk.storage`, `protocol`, `datasites`' own files and `syft_code`; nothing else of `desk`.
Start with `http_app.py`, which puts them in their order.
"""
