"""Fine-tuned models as files that other programs run, and as models that MLflow serves."""
