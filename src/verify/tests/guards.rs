//! What happens at the limits.
