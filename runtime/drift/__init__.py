"""The live monitor: does the engine still answer like FP32, and does the camera still see what was calibrated on?

`bins` and `detector` are the statistics, `watch` one quantity over time, `reference` the FP32 graph that runs anyway,
`monitor` the low-priority worker, `stream_drift` its place in a running stream, `report` its page. Knows no label's
truth: it compares with a reference and with a baseline, never with what a face really showed.
"""
