//! The Worker end to end.
