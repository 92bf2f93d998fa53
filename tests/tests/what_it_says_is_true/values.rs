//! Values come out as they went in, and nothing is guessed in silence.
