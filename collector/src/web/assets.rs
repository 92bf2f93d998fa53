//! The files of the page, in the binary.

use std::sync::LazyLock;

use afferent_protocol::sign::sha256;

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    /// The path below `/assets/`.
    pub path: &'static str,
    /// Its content type.
    pub kind: &'static str,
    /// The content.
    pub bytes: &'static [u8],
    /// Its entity tag (RFC 9110, section 8.8.3), with quotes.
    pub tag: String,
}

macro_rules! files {
    ($($path:literal,)*) => { [$(($path, include_bytes!(concat!("../../web/", $path)) as &[u8]),)*] };
}

/// All files that browsers load; a test compares the list with the folder.
static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = files![
        "app.css",
        "app.js",
        "index.html",
        "parts/alarms.js",
        "parts/amend.js",
        "parts/api.js",
        "parts/as_of.js",
        "parts/bits.js",
        "parts/charts.js",
        "parts/counted.js",
        "parts/figures.js",
        "parts/focus.js",
        "parts/happened.js",
        "parts/forwards.js",
        "parts/html.js",
        "parts/kinds.js",
        "parts/live.js",
        "parts/measure.js",
        "parts/models.js",
        "parts/place.js",
        "parts/plot.js",
        "parts/samples.js",
        "parts/say.js",
        "parts/thin.js",
        "parts/time.js",
        "parts/timeline.js",
        "parts/words.js",
        "vendor/LICENSE-htm",
        "vendor/LICENSE-preact",
        "vendor/LICENSE-uPlot",
        "vendor/README.md",
        "vendor/preact-htm.js",
        "vendor/uPlot.css",
        "vendor/uPlot.js",
        "views/breakdown.js",
        "views/breakdowns.js",
        "views/certificate.js",
        "views/machine.js",
        "views/machines.js",
        "views/sources.js",
        "views/what_if.js",
    ];
    files.into_iter().map(|(path, bytes)| Asset { path, kind: kind_of(path), bytes, tag: tag_of(bytes) }).collect()
});

/// The file of this path.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// All files.
#[cfg(test)]
pub(super) fn all() -> &'static [Asset] {
    &ASSETS
}

fn kind_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

fn tag_of(bytes: &[u8]) -> String {
    let hash = sha256(bytes);
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}
