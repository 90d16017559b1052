"""Two models → a repository for NVIDIA's Triton Inference Server, where many cameras share GPUs."""
