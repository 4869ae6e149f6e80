"""Readers of folders of pictures: HAM10000, one's own with `images.toml`, slices with masks.

    pictures: one file as pixels      picture_files: which files a table names
    picture_mapping: `images.toml`    labelled_pictures: read by it

May import `datasites.data.folders`, `tabular` and `syft_code`.
Start with `ham10000.py`.
"""
