//! The pipeline on labelled recordings: cases, scores, rivals, one report.
