"""Fine-tuning of a trained denoiser on own data: records, settings, the run, and its report."""
