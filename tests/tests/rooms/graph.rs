//! Which file leads to which, and where that goes in a circle.
//!
//! A module's file is the face of its room: what lies inside the room may use it, as `super`, and that is no arrow. All other
//! imports are.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, Name};

/// From each file to those that it uses, with the names that it takes from there.
pub type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The graph of a crate's files.
pub fn graph(files: &BTreeMap<Name, File>) -> Graph {
    let shown = |file: &File| file.path.display().to_string();
    let mut graph = Graph::new();
    for (module, file) in files {
        let to = graph.entry(shown(file)).or_default();
        for used in &file.uses {
            let Some((found, name)) = resolve(files, used, &mut BTreeSet::new()) else { continue };
            if !module.starts_with(found) {
                to.entry(shown(&files[found])).or_default().insert(name);
            }
        }
    }
    graph
}

/// The module whose file defines what a path names, and the name there.
fn resolve<'f>(files: &'f BTreeMap<Name, File>, path: &Name, seen: &mut BTreeSet<Name>) -> Option<(&'f Name, String)> {
    if !seen.insert(path.clone()) {
        return None;
    }
    // The innermost file on the way.
    let depth = (1..=path.len()).rev().find(|depth| files.contains_key(&path[..*depth]))?;
    let (module, file) = files.get_key_value(&path[..depth])?;
    let Some(name) = path.get(depth) else { return Some((module, "itself".to_owned())) };
    if file.defines.contains(name) {
        return Some((module, name.clone()));
    }
    let rest = &path[depth + 1..];
    if let Some(target) = file.hands_on.get(name) {
        return resolve(files, &[&target[..], rest].concat(), seen);
    }
    let of_all = file.hands_on_all.iter();
    let mut found = of_all.filter_map(|all| resolve(files, &[&all[..], &path[depth..]].concat(), seen));
    found.find(|(_, found)| found == name)
}

/// The groups of files each of which leads back to itself.
pub fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<_, _> = graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut circles = BTreeSet::new();
    for (from, to) in &reached {
        let circle: BTreeSet<_> = to.iter().filter(|file| reached[*file].contains(*from)).cloned().collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(file) = open.pop() {
        for to in graph[&file].keys() {
            if reached.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    reached
}

/// The arrows inside of a circle, for people.
pub fn arrows(graph: &Graph, circle: &BTreeSet<String>) -> String {
    let mut lines = Vec::new();
    for from in circle {
        for (to, names) in graph[from].iter().filter(|(to, _)| circle.contains(*to)) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            lines.push(format!("  {from} -> {to}: {}", names.join(", ")));
        }
    }
    lines.join("\n")
}
