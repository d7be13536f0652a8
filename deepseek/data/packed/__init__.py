"""The packed format: records in memory-mapped files. README.md beside this file has the bytes."""
