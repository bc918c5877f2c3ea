"""Signs where the chains of a storage stand (PROTOCOL 3.19): files of keys and checkpoints, the storage."""
