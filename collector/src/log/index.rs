//! Where an offset lies: stretches of whole entries, each with a sparse index.
