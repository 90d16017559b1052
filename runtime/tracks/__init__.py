"""Boxes over time: followed between detections, gathered into tracks without identity, their labels held steady."""
