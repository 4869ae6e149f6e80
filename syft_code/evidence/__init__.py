"""What proves who did what: the chain of an audit log, and whose account a request comes from.

May import `plans`.
"""
