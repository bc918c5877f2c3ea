"""Where finished events are kept (`ports.StorageBackend`): memory, JSONL files, SQLite, or nowhere."""
