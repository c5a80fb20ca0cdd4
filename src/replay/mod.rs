//! Archived fields, in parallel and resumable.
