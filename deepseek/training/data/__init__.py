"""What a run trains on: text into tokens, records into batches."""
