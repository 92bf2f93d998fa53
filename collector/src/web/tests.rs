//! Properties of the page's files, file by file.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};

use axum::body::to_bytes;

use super::assets::all;
use super::*;
use crate::kinds::{AMENDMENT, OnPage, TYPES, Type};

fn folder() -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("web")
}

/// Files of the folder that are for the type checker, and not part of the page.
const CHECKER_FILES: [&str; 2] = ["jsconfig.json", "parts/types.js"];

/// Largest number of columns of a line of the page's own scripts, as of the Rust code.
const COLUMNS_MAX: usize = 120;

/// All files below `folder`, as paths relative to `root`.
fn files(root: &FilePath, folder: &FilePath) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let own = files.iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
    own.chain(folders.iter().flat_map(|folder| self::files(root, folder))).collect()
}

fn text(asset: &Asset) -> &'static str {
    std::str::from_utf8(asset.bytes).unwrap()
}

fn is_own(asset: &Asset) -> bool {
    !asset.path.starts_with("vendor/")
}

async fn body(answer: Response) -> Vec<u8> {
    to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()
}

/// The numbers of the lines that are too long.
fn long_lines(script: &str) -> Vec<usize> {
    let numbered = script.lines().zip(1..);
    numbered.filter(|(line, _)| line.chars().count() > COLUMNS_MAX).map(|(_, number)| number).collect()
}

/// Parts of a document that would need a policy with `unsafe-inline`, or load from elsewhere.
fn breaches(document: &str) -> Vec<String> {
    let lower = document.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, tag) in lower.match_indices('<').map(|(at, _)| (at, &lower[at..])) {
        let tag = tag.split_once('>').map_or(tag, |(head, _)| head);
        let rest = lower[at + tag.len()..].trim_start_matches('>');
        if tag.starts_with("<script") && (!tag.contains("src=") || !rest.starts_with("</script")) {
            found.push(format!("inline script: {tag}"));
        }
        if tag.starts_with("<style") {
            found.push(format!("inline style: {tag}"));
        }
        for attribute in tag.split_ascii_whitespace().skip(1) {
            let name = attribute.split('=').next().unwrap_or_default();
            if name == "style" || (name.starts_with("on") && attribute.contains('=')) {
                found.push(format!("inline {name}: {tag}"));
            }
            if attribute.contains("//") {
                found.push(format!("loads from elsewhere: {tag}"));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_file_is_served_with_its_type_and_the_policy() {
    for asset in all() {
        let answer = answer(asset.path, &HeaderMap::new()).unwrap();
        let headers = answer.headers().clone();
        let kind = match FilePath::new(asset.path).extension().and_then(|ending| ending.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!((answer.status(), &headers["content-type"]), (StatusCode::OK, &HeaderValue::from_static(kind)));
        assert_eq!(headers["content-security-policy"], POLICY, "{}", asset.path);
        assert_eq!(
            (&headers["x-content-type-options"], &headers["cache-control"]),
            (&"nosniff".parse().unwrap(), &"no-cache".parse().unwrap())
        );
        assert_eq!(body(answer).await, std::fs::read(folder().join(asset.path)).unwrap(), "{}", asset.path);
    }
    for refused in ["unsafe-inline", "unsafe-eval", "http:", "https:", "*"] {
        assert!(!POLICY.contains(refused), "the policy allows {refused}");
    }
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let tag = answer(INDEX, &HeaderMap::new()).unwrap().headers()["etag"].clone();
    let asking = |tag: &str| HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap())]);
    for known in [tag.to_str().unwrap().to_owned(), format!("\"other\", W/{}", tag.to_str().unwrap())] {
        let answer = answer(INDEX, &asking(&known)).unwrap();
        assert_eq!(
            (answer.status(), answer.headers().contains_key("content-security-policy")),
            (StatusCode::NOT_MODIFIED, true)
        );
        assert!(body(answer).await.is_empty());
    }
    assert_eq!(answer(INDEX, &asking("\"other\"")).unwrap().status(), StatusCode::OK);
    assert_eq!(all().iter().map(|asset| &asset.tag).collect::<BTreeSet<_>>().len(), all().len(), "tags differ");
}

#[test]
fn paths_that_are_not_part_of_the_page_are_refused_as_the_api_does() {
    let absent = ["nothing.js", "../Cargo.toml", "", "vendor", "/etc/passwd", "Index.html"];
    for path in absent.into_iter().chain(CHECKER_FILES) {
        let problem = answer(path, &HeaderMap::new()).unwrap_err();
        assert_eq!(problem.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn the_binary_has_every_file_of_the_folder_and_each_library_its_licence() {
    let in_binary: BTreeSet<String> = all().iter().map(|asset| asset.path.to_owned()).collect();
    let mut in_folder = files(&folder(), &folder());
    for file in CHECKER_FILES {
        assert!(in_folder.remove(file), "{file} is not in the folder");
    }
    assert_eq!(in_binary, in_folder);
    for licence in ["LICENSE-htm", "LICENSE-preact", "LICENSE-uPlot"] {
        assert!(in_binary.contains(&format!("vendor/{licence}")), "{licence}");
    }
}

#[test]
fn no_file_has_inline_code_or_loads_from_elsewhere() {
    for asset in all().iter().filter(|asset| asset.kind.starts_with("text/html")) {
        assert_eq!(breaches(text(asset)), Vec::<String>::new(), "{}", asset.path);
    }
    for asset in all().iter().filter(|asset| is_own(asset) && !asset.kind.starts_with("text/html")) {
        for forbidden in
            ["http:", "https:", "innerHTML", "dangerouslySetInnerHTML", "eval(", "new Function", "document.write"]
        {
            assert!(!text(asset).contains(forbidden), "{} has {forbidden}", asset.path);
        }
    }
    for asset in all().iter().filter(|asset| asset.path.ends_with(".css")) {
        assert!(!text(asset).contains("url(") && !text(asset).contains("@import"), "{}", asset.path);
    }
}

#[test]
fn inline_code_and_foreign_loads_in_a_document_are_found() {
    for document in [
        "<script>alert(1)</script>",
        "<script src=\"/a.js\">alert(1)</script>",
        "<p onclick=\"alert(1)\">",
        "<p style=\"color: red\">",
        "<style>p { color: red }</style>",
        "<link href=\"https://elsewhere/a.css\">",
        "<img src=//elsewhere/a.png>",
    ] {
        assert_eq!(breaches(document).len(), 1, "{document}");
    }
}

/// `parts/kinds.js`, made of the table of types.
fn kinds_script() -> String {
    let named = |is: fn(OnPage) -> bool| {
        let names: Vec<_> = TYPES.iter().filter(|row| is(row.page)).map(Type::short_name).collect();
        names.join(",")
    };
    let rows = TYPES
        .iter()
        .map(|row| format!("  {}: {{ title: '{}', icon: '{}' }},\n", row.short_name(), row.title, row.icon));
    format!(
        "// The types of events, as the table in src/kinds.rs has them: a test holds this file against it.\n\n\
         /**\n * What people call them, and a character that stands for each.\n *\n \
         * @type {{Record<string, {{ title: string, icon: string }}>}}\n */\n\
         export const KINDS = {{\n{}}};\n\n\
         /** What happened on a machine. */\nexport const LISTED = '{}';\n\n\
         /** That, and what may have changed something that is shown. */\nexport const FOLLOWED =\n  '{}';\n\n\
         /** What people add to an event later. */\nexport const AMENDMENT = '{AMENDMENT}';\n",
        rows.collect::<String>(),
        named(|page| page == OnPage::Listed),
        named(|page| page != OnPage::Absent),
    )
}

#[test]
fn the_page_has_words_icons_and_types_from_the_table_of_kinds() {
    let script = text(asset("parts/kinds.js").unwrap());
    assert!(script == kinds_script(), "collector/web/parts/kinds.js is to be:\n\n{}", kinds_script());
}

#[test]
fn no_line_of_the_pages_own_scripts_is_over_120_columns() {
    for asset in all().iter().filter(|asset| is_own(asset) && asset.path.ends_with(".js")) {
        assert_eq!(long_lines(text(asset)), Vec::<usize>::new(), "{}", asset.path);
    }
    for file in CHECKER_FILES {
        let script = std::fs::read_to_string(folder().join(file)).unwrap();
        assert_eq!(long_lines(&script), Vec::<usize>::new(), "{file}");
    }
}

#[test]
fn long_lines_are_found_by_their_characters() {
    let script = format!("{}\n{}\n{}", "a".repeat(121), "–".repeat(120), "–".repeat(121));
    assert_eq!(long_lines(&script), [1, 3]);
}

#[test]
fn no_script_silences_the_type_checker() {
    for asset in all().iter().filter(|asset| is_own(asset) && asset.path.ends_with(".js")) {
        for forbidden in ["@ts-ignore", "@ts-expect-error", "@ts-nocheck"] {
            assert!(!text(asset).contains(forbidden), "{} has {forbidden}", asset.path);
        }
    }
}

#[test]
fn the_document_names_every_module_ahead_so_that_they_load_at_once() {
    let index = text(asset(INDEX).unwrap());
    let modules = all().iter().filter(|asset| is_own(asset) && asset.path.ends_with(".js"));
    for module in modules {
        assert!(index.contains(&format!("\"/assets/{}\"", module.path)), "{}", module.path);
    }
    let named = index.split("=\"/assets/").skip(1).filter_map(|rest| rest.split('"').next());
    for name in named {
        assert!(asset(name).is_some(), "{name} is named, and is not there");
    }
}
