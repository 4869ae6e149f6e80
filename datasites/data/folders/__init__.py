"""A data folder as every reader meets it: safe access, no file unseen, who is one person, what was read.

May import `syft_code` only. Start with `safe_files.py`.
"""
