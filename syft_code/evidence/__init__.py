"""What proves who did what: the chain of an audit log, and whose account a request comes from.

`audit_chain` links a log's entries, `http_signatures` signs requests. May import `plans`. Start
with `audit_chain.py`.
"""
