"""Reports: what was measured elsewhere, drawn as self-contained HTML pages."""
