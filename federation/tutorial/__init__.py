"""Attacks and pictures for the lessons in `researcher_notebooks/tutorial`, on drawn pictures alone.

No study imports this. Start at `gradient_inversion`. May import `datasites.data`, for drawn pictures, and
`syft_code`.
"""
