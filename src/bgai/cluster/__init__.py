"""Pictures in cloud storage, and on many machines."""
