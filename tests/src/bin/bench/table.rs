//! The table, as README shows it.

use std::fmt;

/// Which side of the bound is good.
#[derive(Clone, Copy)]
pub enum Must {
    /// At least so much.
    Least(f64),
    /// At most so much.
    Most(f64),
    /// There is no bound: shown to compare with.
    Shown,
}

struct Row {
    figure: String,
    got: String,
    must: String,
    reached: &'static str,
}

/// What was measured.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    missed: bool,
}

impl Table {
    /// Adds a figure, with the unit that it is in.
    pub fn add(&mut self, figure: impl Into<String>, got: f64, unit: &str, must: Must) {
        let (must, reached) = match must {
            Must::Least(least) => (format!("≥ {}", number(least, unit)), got >= least),
            Must::Most(most) => (format!("≤ {}", number(most, unit)), got <= most),
            Must::Shown => (String::new(), true),
        };
        self.missed |= !reached;
        let reached = match (must.is_empty(), reached) {
            (true, _) => "",
            (false, true) => "yes",
            (false, false) => "**no**",
        };
        let row = Row { figure: figure.into(), got: number(got, unit), must, reached };
        eprintln!("    {}: {} {} {}", row.figure, row.got, row.must, row.reached);
        self.rows.push(row);
    }

    /// Whether a figure is on the wrong side of its bound.
    pub fn missed(&self) -> bool {
        self.missed
    }
}

/// The one in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn number(value: f64, unit: &str) -> String {
    let digits = if value >= 1000.0 {
        grouped(value)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    };
    if unit.is_empty() { digits } else { format!("{digits} {unit}") }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | measured | must reach | reached |")?;
        writeln!(f, "|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "| {} | {} | {} | {} |", row.figure, row.got, row.must, row.reached)?;
        }
        Ok(())
    }
}
