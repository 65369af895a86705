"""The lab: recipes side by side, audits, notebook runs and figures, on top of everything else."""
