"""Automatic sleep staging: recording in; hypnogram, certainty, statistics and report out."""
