//! Events to measure with: JSON lines of 200 bytes, twenty sensors in turn.

/// Bytes of a line, its newline not counted.
pub const LINE_BYTES: usize = 200;

/// The sample number `number`, as a line of [`LINE_BYTES`] bytes without its newline: a subject as long as it takes.
pub fn json_line(number: usize) -> String {
    let sensor = number % 20;
    let value = 20.0 + (number % 1000) as f64 / 100.0;
    let time = 1_700_000_000_000_000 + number * 50;
    let head = r#"{"subject":"plant-4/hall-2/line-7/press-88-C/"#;
    let tail = format!(r#"/sensor-{sensor:02}","value":{value:.2},"unit":"Cel","time":{time},"quality":"good"}}"#);
    let filler = LINE_BYTES - head.len() - tail.len();
    format!("{head}{}{tail}", "x".repeat(filler))
}
