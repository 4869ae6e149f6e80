"""A process that holds what it was handed and reaches nothing else: for training, and for reading files.

It stands behind walls of the kernel: bubblewrap or namespaces, Landlock, a filter of system calls, limits.
May import `syft_code.runtime` and errors, and by name what a `Spec` tells it to run; the vault's worker
imports it. Start with `template.py` from outside, `inside.py` from inside; `offers.py` says what a
machine has.
"""
