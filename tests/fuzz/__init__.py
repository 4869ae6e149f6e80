"""Mutated inputs to every parser of what comes from outside: `python -m tests.fuzz`.

One file for each kind of parser (`messages`, `plans`, `shares`, `results`, `intake`, `readers`) makes
valid inputs by code and says which errors are a right answer; `mutation` changes the inputs,
`runner` parses them in a process with limits. Start with `runner.py`.
"""
