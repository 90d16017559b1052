"""The detector's road: checkpoint → graphs, calibration on composed scenes, the gate that compares detections."""
