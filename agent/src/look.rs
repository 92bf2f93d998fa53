//! Checks this machine before a start: directories, programs, addresses. Each error names the
//! key of the configuration and what to do.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::fs::{Access, access};

/// Checks that the directory, or its nearest existing parent, is writable.
pub fn writable(directory: &Path, key: &str) -> Result<(), String> {
    let here = Path::new(".");
    let above = directory.ancestors().map(|path| if path.as_os_str().is_empty() { here } else { path });
    let Some(nearest) = above.into_iter().find(|path| path.exists()) else { return Ok(()) };
    let refused = |why: String| format!("`{key}`: {why}; the agent needs a writable directory there");
    if !nearest.is_dir() {
        return Err(refused(format!("{} is not a directory", nearest.display())));
    }
    access(nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| refused(format!("{} cannot be written: {error}", nearest.display())))
}

/// Checks that the agent can listen on an address.
pub fn free(address: SocketAddr, key: &str) -> Result<(), String> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| format!("`{key}` {address}: {error}; is a different program using it?"))
}

/// Whether the path, or the name in `PATH`, is an executable program.
pub fn is_program(program: &str) -> bool {
    let can_run = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        can_run(Path::new(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| can_run(&directory.join(program)))
    }
}
