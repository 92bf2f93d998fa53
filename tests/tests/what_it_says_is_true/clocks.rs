//! One wrong clock spoils no figure.
