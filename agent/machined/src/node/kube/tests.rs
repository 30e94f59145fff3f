//! The adapter against a real API server on a real etcd, and what stock kubectl
//! finds there. Each test starts its own.

mod real;
