//! A collector says what has died, what was refused and what it cannot do.
