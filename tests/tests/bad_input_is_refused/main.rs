//! Bad input is refused wherever it comes in, with words that tell what to do, and what stands around it is taken.

mod crowd;
mod data_directory;
mod disks;
mod lines;
mod mqtt;
