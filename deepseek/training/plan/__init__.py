"""What a run would need, found out without training: memory, bytes on the wire, idle time."""
