"""Formats of volumes: one NIfTI file, one DICOM series, and the volume that either becomes.

May import `datasites.data.folders` and `syft_code`. Start with `volume.py`.
"""
