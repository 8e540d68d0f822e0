"""Expressions over time: video files, cameras and streams, with one number for each person."""
