"""The web page: what people paint and write goes to the pipeline, pictures and what led to them come back."""
