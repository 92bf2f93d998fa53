//! Nothing is stranded: not by a name, a key, a slow line or a broker's limit.
