"""Several hospitals on one machine, with made-up data: for a demo, a simulation or a first try.

`stand_ins` writes data sets that look like the real ones; `partitioners` shares patients out;
`demo_hospitals` does at once what several owners would do one after the other.
May import everything in `datasites` but `vault` and `desk`; only `launch.py`,
benchmarks and tests import it. Start with `demo_hospitals.py`.
"""
