"""What keeps a stream alive and honest for months: health, the watchdog, the lock, signals, fallbacks, memory, heat."""
