//! Alarms are what was raised and not cleared, whatever order their events came in.
