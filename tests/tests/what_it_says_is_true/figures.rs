//! States, breakdowns and figures are those of the events, whatever order they came in.
