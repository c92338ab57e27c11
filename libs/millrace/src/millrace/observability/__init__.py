"""What a process tells of itself: health, metrics, traces and logs."""
