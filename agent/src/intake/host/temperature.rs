//! Temperatures of the sensors under `/sys/class/hwmon` (the kernel's `hwmon/sysfs-interface`): millidegrees Celsius.

use std::path::Path;

use super::read_text;
use super::reading::{Readings, level};
use crate::limits::HOST_THINGS_MAX;

pub fn look(directory: &Path, out: &mut Readings) {
    let mut left = HOST_THINGS_MAX;
    for chip in names(directory) {
        let path = directory.join(&chip);
        let chip_name = read_text(&path.join("name")).map_or_else(|| chip.clone(), |name| level(&name));
        for file in names(&path) {
            let Some(sensor) = file.strip_suffix("_input").filter(|sensor| sensor.starts_with("temp")) else {
                continue;
            };
            if left == 0 {
                return;
            }
            let Some(value) = read_text(&path.join(&file)).and_then(|text| celsius(&text)) else { continue };
            let label = read_text(&path.join(format!("{sensor}_label"))).map(|label| level(&label));
            let label = label.filter(|label| !label.is_empty()).unwrap_or_else(|| sensor.to_owned());
            out.number(format!("temperature/{chip_name}/{label}"), value, "Cel");
            left -= 1;
        }
    }
}

fn celsius(text: &str) -> Option<f64> {
    let millidegrees: i32 = text.trim().parse().ok()?;
    Some(f64::from(millidegrees) / 1000.0)
}

/// What is in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::super::reading::Found;
    use super::*;

    #[test]
    fn sensors_are_named_by_chip_and_label() {
        let root = tempfile::tempdir().unwrap();
        let chip = root.path().join("hwmon0");
        std::fs::create_dir(&chip).unwrap();
        for (file, text) in [
            ("name", "coretemp\n"),
            ("temp1_input", "41500\n"),
            ("temp1_label", "Package id 0\n"),
            ("temp2_input", "-3000\n"),
            ("temp3_input", "broken\n"),
            ("fan1_input", "900\n"),
        ] {
            std::fs::write(chip.join(file), text).unwrap();
        }
        let mut out = Readings::default();
        look(root.path(), &mut out);
        let found: Vec<_> = out.into_vec().into_iter().map(|reading| (reading.subject, reading.found)).collect();
        assert_eq!(
            found,
            [
                ("temperature/coretemp/Package-id-0".to_owned(), Found::Number { value: 41.5, unit: "Cel" }),
                ("temperature/coretemp/temp2".to_owned(), Found::Number { value: -3.0, unit: "Cel" }),
            ]
        );
    }
}
