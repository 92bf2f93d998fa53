//! What can be seen of this machine before anything is begun: directories, programs, addresses. Each error names the
//! key of the configuration, and what to do.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::fs::{Access, access};

/// Whether the directory, or the nearest one above it that there is, can be written.
pub fn writable(directory: &Path, key: &str) -> Result<(), String> {
    let here = Path::new(".");
    let above = directory.ancestors().map(|path| if path.as_os_str().is_empty() { here } else { path });
    let Some(nearest) = above.into_iter().find(|path| path.exists()) else { return Ok(()) };
    let refused = |why: String| format!("`{key}`: {why}; the agent needs a directory there that it can write");
    if !nearest.is_dir() {
        return Err(refused(format!("{} is no directory", nearest.display())));
    }
    access(nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| refused(format!("{} cannot be written: {error}", nearest.display())))
}

/// Whether an address is free to listen on.
pub fn free(address: SocketAddr, key: &str) -> Result<(), String> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| format!("`{key}` {address}: {error}; is another program using it?"))
}

/// Whether there is a program of this path, or of this name in `PATH`, that can be run.
pub fn is_program(program: &str) -> bool {
    let can_run = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        can_run(Path::new(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| can_run(&directory.join(program)))
    }
}
