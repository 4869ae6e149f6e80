"""What people look at: the HTML report, its plots, a notebook's tables, a progress bar.

Start at `report.write`. Nothing here computes a figure: `evaluation` and `certificate` do. May
import `researcher`, `evaluation`, `certificate`, `syft_code`.
"""
