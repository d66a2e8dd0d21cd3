"""Measures of detection, one kind a file: pure functions over arrays. N rows, S segments, I incidents, C channels.

Labels are per row; a *segment* is a maximal run of rows labelled anomalous. Nothing here adjusts points: a row
that was not flagged stays not flagged, whatever happens elsewhere in its segment. A ratio of nothing is NaN.
"""
