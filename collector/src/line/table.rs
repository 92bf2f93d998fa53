//! Columns as wide as their widest text so far.

use std::fmt::Write;

/// The largest width of a column; a longer text goes beyond it.
const WIDTH_MAX: usize = 44;

/// The widths of the columns so far.
#[derive(Clone, Debug, Default)]
pub struct Widths(Vec<usize>);

/// The alignment of a column's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Left, for texts.
    Left,
    /// Right, for numbers.
    Right,
}

impl Widths {
    /// The text of column `index`, padded with blanks; widens the column if needed.
    pub fn fit(&mut self, index: usize, side: Side, text: &str) -> String {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        let width = &mut self.0[index];
        *width = (*width).max(text.chars().count().min(WIDTH_MAX));
        match side {
            Side::Left => format!("{text:<width$}"),
            Side::Right => format!("{text:>width$}"),
        }
    }
}

/// A whole table: a heading, and rows of as many columns.
pub fn table(heading: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let mut widths = Widths::default();
    let heads: Vec<String> = heading.iter().map(|(name, _)| (*name).to_owned()).collect();
    // Twice: the first time only to find the widths.
    let mut text = String::new();
    for _ in 0..2 {
        text.clear();
        for row in std::iter::once(&heads).chain(rows) {
            let columns = row.iter().zip(heading).enumerate();
            let columns: Vec<String> =
                columns.map(|(index, (text, (_, side)))| widths.fit(index, *side, text)).collect();
            let _ = writeln!(text, "{}", columns.join("  ").trim_end());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["longer".to_owned(), "9".to_owned()]];
        assert_eq!(table(&[("NAME", Side::Left), ("N", Side::Right)], &rows), "NAME     N\na       10\nlonger   9\n");
    }
}
