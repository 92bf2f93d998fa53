//! Which requests of a browser are accepted: a page of a different origin neither changes nor reads anything here.
//!
//! A browser sends the requests of a page of any origin, and asks for permission first only if a request is not a
//! simple one (a form, a text, an empty POST). So a request that changes something is refused
//!
//! - when its `Origin` is a different one, or `Sec-Fetch-Site` names a different site: every browser sends one of these
//!   headers, and programs such as curl send neither;
//! - when it is a POST with a body whose type a form can have, unless its headers have attributes of a CloudEvent: this
//!   holds also where a browser sends neither.
//!
//! A page can have its own name resolve to this machine (DNS rebinding), and is then of the same origin. So a request,
//! also one that reads, is refused when its `Host` is not one of this collector's names ([`AllowedHosts`]).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::budget::{Budgets, Client};
use super::problem::Problem;
use super::publish::{ATTRIBUTE, media_type};
use crate::refused::RefusalKind;

/// What a browser says of where a request comes from (Fetch Metadata).
const SITE: &str = "sec-fetch-site";
/// Types of bodies that a browser sends without asking, and none at all.
const PLAIN: [&str; 4] = ["", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// The names by which this collector may be asked, beside those of loopback.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts {
    /// Where it listens.
    pub listen: Option<IpAddr>,
    /// Names from the configuration, in lower case.
    pub names: Vec<String>,
}

impl AllowedHosts {
    /// Whether it is one of them. `local` is the address that the connection came to.
    fn has(&self, host: &str, local: Option<IpAddr>) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        match literal.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(ip) => ip.is_loopback() || [self.listen, local].contains(&Some(ip)) || self.is_given(&host),
            Err(_) => host == "localhost" || host.ends_with(".localhost") || self.is_given(&host),
        }
    }

    fn is_given(&self, host: &str) -> bool {
        self.names.iter().any(|name| name == host)
    }

    /// Checks a request.
    fn check(&self, request: &Request, local: Option<IpAddr>) -> Result<(), (RefusalKind, Problem)> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            // A program of HTTP/1.0: every browser sends the name of its server.
            (None, _) => None,
            (Some(host), None) => Some(authority(host.as_bytes()).ok_or_else(|| foreign_host(host.as_bytes()))?),
            (Some(_), Some(host)) => return Err(foreign_host(host.as_bytes())),
        };
        for named in host.iter().chain(request.uri().authority()) {
            if !self.has(named.host(), local) {
                return Err(foreign_host(named.as_str().as_bytes()));
            }
        }
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        self.check_origin(headers, host.as_ref())?;
        if request.method() == Method::POST && has_body(headers) && is_plain(headers) {
            let remedy = "send it as application/json, application/cloudevents+json, application/x-ndjson or \
                          application/toml (curl: -H 'Content-Type: …')";
            let detail = "any web page can have a browser send this content type";
            return Err((RefusalKind::HttpOrigin, Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail, remedy)));
        }
        Ok(())
    }

    fn check_origin(&self, headers: &HeaderMap, host: Option<&Authority>) -> Result<(), (RefusalKind, Problem)> {
        let is_other_site = |site: &[u8]| !matches!(site, b"same-origin" | b"none");
        let site = headers.get_all(SITE).iter().find(|site| is_other_site(site.as_bytes()));
        let origin = headers.get_all(header::ORIGIN).iter().find(|origin| !self.is_own(origin.as_bytes(), host));
        let Some(other) = origin.or(site) else { return Ok(()) };
        let detail = format!("the request comes from a page of another origin ({})", shown(other.as_bytes()));
        let remedy =
            "use the collector's own page, or a program; behind a proxy add the page's name to `names` under [http]";
        Err((RefusalKind::HttpOrigin, Problem::new(StatusCode::FORBIDDEN, detail, remedy)))
    }

    /// Whether an origin is that of the page that is asked here: the host of the request, or one of the names given.
    fn is_own(&self, origin: &[u8], host: Option<&Authority>) -> bool {
        let Some((scheme, rest)) = std::str::from_utf8(origin).ok().and_then(|text| text.split_once("://")) else {
            return false;
        };
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let Some(origin) = authority(rest.as_bytes()) else { return false };
        if self.is_given(&origin.host().to_ascii_lowercase()) {
            return true;
        }
        let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
        host.is_some_and(|host| origin.host().eq_ignore_ascii_case(host.host()) && port(&origin) == port(host))
    }
}

/// A host with or without a port, and nothing else.
fn authority(bytes: &[u8]) -> Option<Authority> {
    Authority::try_from(bytes).ok().filter(|authority| !authority.as_str().contains('@'))
}

fn foreign_host(host: &[u8]) -> (RefusalKind, Problem) {
    let detail = format!("`Host` is {}, which is not a name of this collector", shown(host));
    let remedy =
        "use the address that the collector listens on, or add the name to `names` under [http] in its configuration";
    (RefusalKind::HttpHost, Problem::new(StatusCode::MISDIRECTED_REQUEST, detail, remedy))
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes).chars().take(64).collect::<String>())
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).map(|length| length.as_bytes() != b"0");
    length.unwrap_or(headers.contains_key(header::TRANSFER_ENCODING))
}

fn is_plain(headers: &HeaderMap) -> bool {
    let is_event = headers.keys().any(|name| name.as_str().starts_with(ATTRIBUTE));
    !is_event && PLAIN.contains(&media_type(headers).as_str())
}

/// Refuses what a browser should not have sent.
pub(super) async fn keep(
    State((names, budgets)): State<(Arc<AllowedHosts>, Arc<Budgets>)>,
    request: Request,
    next: Next,
) -> Response {
    let client = Client::of(request.extensions());
    match names.check(&request, client.local.map(|local| local.ip().to_canonical())) {
        Ok(()) => next.run(request).await,
        Err((kind, problem)) => budgets.refuse(kind, &client, problem).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn names() -> AllowedHosts {
        AllowedHosts { listen: Some([10, 0, 0, 7].into()), names: vec!["plant.example".to_owned()] }
    }

    fn status(method: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = axum::http::Request::builder().method(method).uri("/v1/events");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        names().check(&request, None).map_or_else(|(_, problem)| problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn a_name_that_resolves_here_and_is_not_ours_is_refused_for_reading_too() {
        for (host, expected) in [
            ("127.0.0.1:8080", 200),
            ("localhost:9000", 200),
            ("LOCALHOST", 200),
            ("[::1]:8080", 200),
            ("10.0.0.7:8080", 200),
            ("plant.example", 200),
            ("Plant.Example.:443", 200),
            ("evil.example:8080", 421),
            ("127.0.0.1.evil.example", 421),
            ("localhost.evil.example", 421),
            ("evil.example@127.0.0.1", 421),
            ("10.0.0.8", 421),
            ("", 421),
        ] {
            assert_eq!(status("GET", &[("host", host)]), expected, "{host:?}");
            assert_eq!(status("POST", &[("host", host)]), expected, "{host:?}");
        }
        assert_eq!(status("GET", &[]), 200, "HTTP/1.0");
        assert_eq!(status("GET", &[("host", "localhost"), ("host", "evil.example")]), 421);
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing_whatever_it_sends() {
        let host = ("host", "127.0.0.1:8080");
        for (name, value, expected) in [
            ("origin", "http://127.0.0.1:8080", 200),
            ("origin", "https://plant.example", 200),
            ("origin", "http://evil.example", 403),
            ("origin", "http://127.0.0.1:9999", 403),
            ("origin", "http://127.0.0.1", 403),
            ("origin", "null", 403),
            ("origin", "file://", 403),
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "none", 200),
            ("sec-fetch-site", "same-site", 403),
            ("sec-fetch-site", "cross-site", 403),
        ] {
            for method in ["POST", "PUT", "DELETE"] {
                assert_eq!(status(method, &[host, (name, value)]), expected, "{method} {name}: {value}");
            }
            assert_eq!(status("GET", &[host, (name, value)]), 200, "the browser keeps the answer from the page");
        }
        let own = [host, ("origin", "http://127.0.0.1:8080"), ("origin", "http://evil.example")];
        assert_eq!(status("POST", &own), 403);
    }

    #[test]
    fn bodies_that_a_form_can_send_are_refused() {
        let host = ("host", "127.0.0.1:8080");
        let post = |kind: &str| status("POST", &[host, ("content-length", "7"), ("content-type", kind)]);
        for kind in ["text/plain", "Text/Plain;charset=utf-8", "multipart/form-data; boundary=x", "", PLAIN[1]] {
            assert_eq!(post(kind), 415, "{kind:?}");
            let event = [host, ("content-length", "7"), ("content-type", kind), ("ce-id", "1")];
            assert_eq!(status("POST", &event), 200, "{kind:?} of a CloudEvent in binary mode");
        }
        assert_eq!(status("POST", &[host, ("transfer-encoding", "chunked")]), 415, "a body without a type");
        for kind in ["application/json", "application/toml", "application/x-ndjson", "application/cloudevents+json"] {
            assert_eq!(post(kind), 200, "{kind:?}");
        }
        assert_eq!(status("POST", &[host]), 200, "curl -X POST");
        assert_eq!(status("POST", &[host, ("content-length", "0"), ("content-type", "text/plain")]), 200);
        assert_eq!(status("PUT", &[host, ("content-length", "7"), ("content-type", "text/plain")]), 200, "asked for");
    }
}
