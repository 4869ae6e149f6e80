"""Parties as processes of one machine: how they begin, speak on a terminal, and end together.

`process_spec` describes a process, `parent_exit` ends it with its parent, `cli_output` and
`visible_text` write for people, `quiet_imports` silences libraries. May import no other room.
"""
