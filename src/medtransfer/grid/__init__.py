"""Run a whole study as one resumable job, in processes of this machine or on a Ray cluster."""
