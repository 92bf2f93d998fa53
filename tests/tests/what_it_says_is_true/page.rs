//! The page says nothing that is not so.
