"""Parties as processes of one machine: how they begin, are quiet, and end with their parent."""
