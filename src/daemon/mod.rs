//! What runs for months: threads, queues, supervision, the stop.
