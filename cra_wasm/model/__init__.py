"""The protocols' data: atlas, request, resolution, event. The only place that spells JSON field names."""
