//! The bench: one table, and only ratios within one run count. Run it with `tests/bench`; it ends with 1 when a figure
//! misses its bound.

mod certificates;
mod disk;
mod followers;
mod forwards;
mod journey;
mod load;
mod memory;
mod models;
mod mosquitto;
mod page;
mod readers;
mod size;
mod sources;
mod table;

use std::process::ExitCode;

use table::Table;

fn main() -> ExitCode {
    let mut only: Vec<String> = std::env::args().skip(1).collect();
    let mut table = Table::default();
    type Part = (&'static str, fn(&mut Table));
    let parts: [Part; 18] = [
        ("size", size::measure),
        ("disk", disk::measure),
        ("journey", journey::measure),
        ("in-process", journey::measure_in_process),
        ("breakdown", journey::measure_breakdowns),
        ("models", models::measure),
        ("readers", readers::measure),
        ("certificates", certificates::measure),
        ("followers", followers::measure),
        ("webhook", forwards::webhook::measure),
        ("postgres", forwards::postgres::measure),
        ("kafka", forwards::kafka::measure),
        ("parquet", forwards::parquet::measure),
        ("influx", forwards::influx::measure),
        ("memory", memory::measure),
        ("sources", sources::measure),
        ("page", page::measure),
        ("mosquitto", mosquitto::measure),
    ];
    let known: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("bench: there is no part {unknown:?}; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    if only.is_empty() {
        only = known.iter().map(|name| name.to_string()).collect();
    }
    for (name, measure) in parts {
        if only.iter().any(|wanted| wanted == name) {
            eprintln!("bench: {name} …");
            measure(&mut table);
        }
    }
    println!("{table}");
    if table.missed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
