"""What monitors see of jobs: events, Flower, metrics, traces and logs."""
