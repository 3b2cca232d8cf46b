"""What people look at: each view reads results and what metrics say about themselves, nothing else."""
