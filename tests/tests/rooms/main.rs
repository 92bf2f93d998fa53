//! The order of the rooms: imports among the files of a crate go down, so that no circle joins two files, and a program links
//! what it needs.

mod graph;
mod linked;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use graph::{Graph, arrows, circles, graph};

/// The crates, each by the file that it begins with.
const CRATES: [&str; 5] = [
    "protocol/src/lib.rs",
    "protocol/host/src/lib.rs",
    "firmware/src/lib.rs",
    "agent/src/lib.rs",
    "collector/src/lib.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn crate_graph(lib: &str) -> Graph {
    graph(&source::files(&root(), Path::new(lib)))
}

#[test]
fn no_circle_joins_two_files() {
    let mut found = Vec::new();
    for lib in CRATES {
        let graph = crate_graph(lib);
        assert!(graph.values().flatten().count() >= graph.len() / 3, "{lib} was read: {graph:?}");
        found.extend(
            circles(&graph).iter().map(|circle| format!("{} files:\n{}", circle.len(), arrows(&graph, circle))),
        );
    }
    assert!(found.is_empty(), "{} circles; give what both need a room below both\n{}", found.len(), found.join("\n\n"));
}

#[test]
fn a_circle_is_found_and_names_that_are_handed_on_make_none() {
    let arrow = |from: &str, to: &str| (from.to_owned(), BTreeMap::from([(to.to_owned(), BTreeSet::new())]));
    let line = Graph::from([arrow("a", "b"), arrow("b", "c"), ("c".to_owned(), BTreeMap::new())]);
    assert_eq!(circles(&line), Vec::<BTreeSet<String>>::new());
    let round = Graph::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "b")]);
    assert_eq!(circles(&round), [BTreeSet::from(["b".to_owned(), "c".to_owned()])], "the control");
}
