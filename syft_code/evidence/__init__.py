"""What proves who did what: the chain of an audit log, and whose account an HTTP request comes from.

Start at `audit_chain.verify`: anybody may. May import `plans`.
"""
