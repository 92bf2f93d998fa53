//! The page for people: `GET /` and `/assets/*`.
//!
//! It is made of files in `collector/web`, which are part of the binary (`assets`): cargo is the only build tool, and
//! the page loads only from this server. It is a reader of the API. A content security policy allows scripts and styles
//! from here only, so that a machine's text that got into the document as markup could not run.

mod assets;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::problem::Problem;
use assets::{Asset, asset};

/// The sources that the page may load from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The document of the page.
const INDEX: &str = "index.html";

/// The routes of the page, to be merged with those of the API.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| answer(INDEX, &headers)))
        .route("/assets/{*path}", get(async |Path(path): Path<String>, headers: HeaderMap| answer(&path, &headers)))
}

fn answer(path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some(asset) = asset(path) else {
        let path: String = path.chars().take(64).collect();
        let detail = format!("the page has no file {path:?}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail, "reload the page at /"));
    };
    let asked = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let has_it = asked.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.tag));
    let status = if has_it { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let body = if has_it { &[] } else { asset.bytes };
    Ok((status, headers_of(asset), body).into_response())
}

fn headers_of(asset: &Asset) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Names stay the same from version to version: the browser keeps its copy, and asks each time whether it is
    // current.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, HeaderValue::from_str(&asset.tag).expect("a tag is ASCII"));
    headers
}

#[cfg(test)]
mod tests;
