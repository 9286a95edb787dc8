//! Parsers of test results, one file a format. Formats that come as lines are fed line by line and keep
//! memory bounded; the others are read from whole files.
