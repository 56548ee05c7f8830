"""Whole studies as one resumable job, on the processes of this machine or on a Ray cluster."""
