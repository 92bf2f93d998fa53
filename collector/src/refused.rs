//! Refused clients, with the reasons: remembered by name for the fleet's view, counted for metrics, and logged seldom.
//!
//! The first refusal of a kind and a name is a warning with the name and the remedy; then there is at most one a
//! minute, with the number of refusals meanwhile. Names cost nothing without logins, so the number of remembered names
//! is limited, and so is the number of warnings a minute for all of them together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use afferent_protocol::ids::Timestamp;

use crate::core::Reason;
use crate::limits::{REFUSED_KEPT_MAX, REFUSED_RECENT_TIME, REFUSED_TEXT_CHARS_MAX, REFUSED_WARNINGS_MAX};
use crate::line::plain;
use crate::seldom::Seldom;

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalKind {
    /// A TLS handshake that failed.
    Tls,
    /// A client that does not speak MQTT, or not in time.
    Handshake,
    /// A wrong user or password.
    Login,
    /// A certificate without an agent's name.
    Certificate,
    /// A last will on a topic that is not the client's own.
    Will,
    /// More connections than the limit.
    TooManyConnections,
    /// A message on a topic that is not the client's own.
    Publish,
    /// A filter that is not the client's own.
    Subscribe,
    /// A message that admission refused.
    Message(Reason),
    /// A name that has delivered nothing and was dropped for a new one.
    NameGaveWay,
    /// A subscription without a reader that was dropped for a new one.
    SubscriptionGaveWay,
    /// More subscriptions than one client, or all, may have.
    HttpSubscriptions,
    /// More HTTP connections than one client, or all, may have.
    HttpConnections,
    /// More event streams than one client, or all, may have.
    HttpStreams,
    /// More long answers than one client, or all, may have.
    HttpLongAnswers,
    /// More bytes of unanswered requests than one client, or all, may have.
    HttpBodies,
    /// A request whose body did not arrive.
    HttpSlow,
    /// A query that takes too long, or comes when too many wait.
    HttpComputations,
    /// A large answer while clients do not read theirs.
    HttpAnswers,
    /// A request to a host name that is not the collector's.
    HttpHost,
    /// A request that a page of a foreign origin could make a browser send.
    HttpOrigin,
}

impl RefusalKind {
    /// The name that people and metrics see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::Login => "login",
            Self::Certificate => "certificate",
            Self::Will => "will",
            Self::TooManyConnections => "too-many-connections",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Message(reason) => reason.name(),
            Self::NameGaveWay => "name-gave-way",
            Self::SubscriptionGaveWay => "subscription-gave-way",
            Self::HttpSubscriptions => "http-subscriptions",
            Self::HttpConnections => "http-connections",
            Self::HttpStreams => "http-streams",
            Self::HttpLongAnswers => "http-long-answers",
            Self::HttpBodies => "http-bodies",
            Self::HttpSlow => "http-slow-body",
            Self::HttpComputations => "http-computations",
            Self::HttpAnswers => "http-answers",
            Self::HttpHost => "http-host",
            Self::HttpOrigin => "http-origin",
        }
    }

    /// Whether it keeps agents, readers or posters out, so that health reports it.
    const fn is_of_health(self) -> bool {
        match self {
            Self::HttpConnections
            | Self::HttpStreams
            | Self::HttpLongAnswers
            | Self::HttpBodies
            | Self::HttpAnswers => true,
            Self::HttpSubscriptions | Self::SubscriptionGaveWay | Self::NameGaveWay => true,
            Self::Message(reason) => matches!(reason, Reason::FirstContacts | Reason::TooMany),
            _ => false,
        }
    }

    /// Whether strangers can make up any number of names of it, so that the newest is enough.
    const fn is_of_crowd(self) -> bool {
        matches!(self, Self::NameGaveWay | Self::SubscriptionGaveWay)
    }

    /// The remedy.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Tls => {
                "give the client an mqtts:// URL, the CA of the collector's certificate and, if `client_ca` is set, a \
                 valid certificate of its own"
            }
            Self::Handshake => "use MQTT 3.1.1 or 5; mqtts:// needs [mqtt.tls] in the collector's configuration",
            Self::Login => {
                "give the agent the user and password of its [[mqtt.user]] entry; SIGHUP reloads these entries"
            }
            Self::Certificate => "issue a certificate whose subject has the agent's name as its only common name",
            Self::Will | Self::Publish | Self::Subscribe => {
                "a client may use only the topics of its own name: its user name or certificate must carry the agent's \
                 name"
            }
            Self::TooManyConnections => "raise mqtt.connections_max, and LimitNOFILE (ulimit -n) with it",
            Self::Message(Reason::OtherKey | Reason::Signature) => {
                "if the machine was reinstalled, accept its new key with `afferent-collector agents replace NAME --key \
                 KEY`; otherwise somebody else uses its name"
            }
            Self::Message(Reason::Newer) => "update the collector before its agents",
            Self::Message(Reason::OtherSource | Reason::OwnName | Reason::Conflict) => {
                "give every agent its own name and its own data directory"
            }
            Self::Message(Reason::FirstContacts) | Self::NameGaveWay => {
                "if these are not your agents, find out who makes up the names, and give your agents logins or \
                 certificates"
            }
            Self::Message(Reason::TooMany) => "connect it to a collector with another log",
            Self::Message(_) => "check the client's software and version",
            Self::SubscriptionGaveWay | Self::HttpSubscriptions => {
                "delete subscriptions that nobody needs; a subscription that is read and committed is never removed"
            }
            Self::HttpConnections
            | Self::HttpStreams
            | Self::HttpLongAnswers
            | Self::HttpBodies
            | Self::HttpSlow
            | Self::HttpComputations
            | Self::HttpAnswers => {
                "check what runs on that machine; the collector limits each client so that others can work"
            }
            Self::HttpHost | Self::HttpOrigin => {
                "another site's web page sent the request; or, if this is a name of the collector, add it to `names` \
                 under [http]"
            }
        }
    }
}

/// A refused client, as far as it is known.
#[derive(Clone, Debug)]
pub struct Refused<'a> {
    /// The kind.
    pub kind: RefusalKind,
    /// The name that the client has or claims; without one, its address is used.
    pub name: Option<&'a str>,
    /// The user of its login.
    pub user: Option<&'a str>,
    /// The topic of its request.
    pub topic: Option<&'a str>,
    /// Its address; unknown behind a broker.
    pub peer: Option<SocketAddr>,
    /// The reason.
    pub why: &'a str,
}

/// The refusals of one kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalEntry {
    /// The kind.
    pub kind: RefusalKind,
    /// The name, or the address of a client without one.
    pub name: String,
    /// The user of the last one.
    pub user: Option<String>,
    /// The topic of the last one.
    pub topic: Option<String>,
    /// The address of the last one.
    pub peer: Option<String>,
    /// The reason of the last one.
    pub why: String,
    /// Their number.
    pub count: u64,
    /// Time of the first, by the collector's clock.
    pub first: Timestamp,
    /// Time of the last, by the collector's clock.
    pub last: Timestamp,
    told: Seldom,
}

/// All refusals since the start.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    entries: Vec<RefusalEntry>,
    counts: BTreeMap<RefusalKind, u64>,
    /// For health: the last refusal of each kind, with its reason.
    recent: BTreeMap<RefusalKind, (Instant, String)>,
    /// The beginning of the minute in which warnings are counted, and their number.
    minute: Option<(Instant, usize)>,
}

impl Ledger {
    /// Remembers a refusal, and logs a warning if one is due.
    pub fn note(&self, refused: &Refused<'_>) {
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let wall = Timestamp::clamped(wall.tv_sec.saturating_mul(1_000_000).saturating_add(wall.tv_nsec / 1000));
        let due = self.lock().note(refused, wall, Instant::now());
        let Some((entry, before)) = due else { return };
        let RefusalEntry { kind, name, user, topic, peer, why, .. } = entry;
        let (kind, remedy) = (kind.name(), kind.remedy());
        tracing::warn!(kind, name, user, topic, peer, refused_meanwhile = before, "refused: {why}; {remedy}");
    }

    /// The remembered refusals, newest first.
    pub fn entries(&self) -> Vec<RefusalEntry> {
        let mut entries = self.lock().entries.clone();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.last));
        entries
    }

    /// The number of refusals of each kind.
    pub fn counts(&self) -> BTreeMap<RefusalKind, u64> {
        self.lock().counts.clone()
    }

    /// Recent refusals that keep clients out: the kind, and the last reason.
    pub fn recent(&self) -> Vec<(RefusalKind, String)> {
        let (book, now) = (self.lock(), Instant::now());
        let recent = book.recent.iter().filter(|(_, (last, _))| now.duration_since(*last) < REFUSED_RECENT_TIME);
        recent.map(|(kind, (_, why))| (*kind, why.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        // The book is consistent at any time, also when a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Remembers a refusal; returns the entry to warn about, and the number of refusals since the last warning, when
    /// one is due.
    fn note(&mut self, refused: &Refused<'_>, wall: Timestamp, now: Instant) -> Option<(RefusalEntry, u64)> {
        *self.counts.entry(refused.kind).or_default() += 1;
        if refused.kind.is_of_health() {
            self.recent.insert(refused.kind, (now, plain(refused.why).into_owned()));
        }
        let name = match (refused.name, refused.peer) {
            (Some(name), _) if !name.is_empty() => short(name),
            // Its port differs each time.
            (_, Some(peer)) => peer.ip().to_string(),
            (_, None) => "?".to_owned(),
        };
        let is_known =
            |entry: &RefusalEntry| entry.kind == refused.kind && (entry.name == name || refused.kind.is_of_crowd());
        let known = self.entries.iter().position(is_known);
        let at = known.unwrap_or_else(|| self.add(refused.kind, name.clone(), wall));
        let entry = &mut self.entries[at];
        entry.name = name;
        entry.user = refused.user.map(short);
        entry.topic = refused.topic.map(short);
        entry.peer = refused.peer.map(|peer| peer.to_string());
        entry.why = plain(refused.why).into_owned();
        (entry.count, entry.last) = (entry.count + 1, wall);
        let told = entry.told;
        let before = entry.told.due(now)?;
        if !has_room(&mut self.minute, now) {
            entry.told.withhold(told);
            return None;
        }
        Some((entry.clone(), before))
    }

    /// Adds an entry; replaces the one with the oldest refusal at the limit.
    fn add(&mut self, kind: RefusalKind, name: String, wall: Timestamp) -> usize {
        let (why, told) = (String::new(), Seldom::default());
        let (user, topic, peer) = (None, None, None);
        let entry = RefusalEntry { kind, name, user, topic, peer, why, count: 0, first: wall, last: wall, told };
        if self.entries.len() < REFUSED_KEPT_MAX {
            self.entries.push(entry);
            return self.entries.len() - 1;
        }
        let oldest = (0..self.entries.len()).min_by_key(|at| self.entries[*at].last).expect("there are some");
        self.entries[oldest] = entry;
        oldest
    }
}

/// Whether a warning may still be logged in this minute.
fn has_room(minute: &mut Option<(Instant, usize)>, now: Instant) -> bool {
    match minute {
        Some((begun, told)) if now.duration_since(*begun) < Duration::from_secs(60) => {
            *told += 1;
            *told <= REFUSED_WARNINGS_MAX
        }
        _ => {
            *minute = Some((now, 1));
            true
        }
    }
}

/// A foreign text, safe for a terminal, and short.
fn short(text: &str) -> String {
    let short: String = text.chars().take(REFUSED_TEXT_CHARS_MAX).collect();
    plain(&short).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(name: &str) -> Refused<'_> {
        let peer = Some("10.0.0.7:4711".parse().unwrap());
        let why = "the user name or password is wrong";
        Refused { kind: RefusalKind::Login, name: Some(name), user: Some(name), topic: None, peer, why }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::clamped(second * 1_000_000)
    }

    #[test]
    fn the_first_refusal_of_a_name_is_logged_and_then_one_a_minute_with_the_count() {
        let (mut book, begun) = (Book::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..=120 {
            let due = book.note(&login("press-88"), at(second), begun + Duration::from_secs(second as u64));
            told.extend(due.map(|(entry, before)| (second, entry.count, before)));
        }
        assert_eq!(told, [(0, 1, 0), (60, 61, 59), (120, 121, 59)]);
        assert_eq!(book.counts[&RefusalKind::Login], 121, "the control: all of them are counted");
        let due = book.note(&login("press-89"), at(121), begun + Duration::from_secs(121));
        assert_eq!(due.unwrap().0.name, "press-89", "another name is told at once");
    }

    #[test]
    fn a_flood_of_names_writes_few_warnings_and_is_remembered_in_part() {
        let (mut book, now) = (Book::default(), Instant::now());
        let names: Vec<String> = (0..10_000).map(|number| format!("press-{number}")).collect();
        let told = names.iter().zip(0..).filter(|(name, second)| book.note(&login(name), at(*second), now).is_some());
        assert_eq!(told.count(), REFUSED_WARNINGS_MAX);
        assert_eq!(book.entries.len(), REFUSED_KEPT_MAX);
        assert_eq!(book.counts[&RefusalKind::Login], 10_000);
        assert!(book.entries.iter().any(|entry| entry.name == "press-9999"), "the newest ones are remembered");
    }

    #[test]
    fn of_names_that_give_way_the_newest_is_remembered_and_others_keep_their_place() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.note(&login("press-88"), at(0), now);
        let names: Vec<String> = (0..1000).map(|number| format!("stranger-{number}")).collect();
        for name in &names {
            let gone = Refused { kind: RefusalKind::NameGaveWay, user: None, peer: None, ..login(name) };
            book.note(&gone, at(1), now);
        }
        let names: Vec<&str> = book.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["press-88", "stranger-999"], "one entry each would leave none of others");
        assert_eq!(book.counts[&RefusalKind::NameGaveWay], 1000);
        assert!(book.recent.contains_key(&RefusalKind::NameGaveWay), "health tells of it");
    }

    #[test]
    fn text_of_a_stranger_is_cut_and_made_safe_for_a_terminal() {
        let mut book = Book::default();
        let wild = format!("\u{1b}[31m{}", "x".repeat(500));
        let (entry, _) = book.note(&login(&wild), at(0), Instant::now()).unwrap();
        assert!(entry.name.len() < 100 && entry.name.starts_with("\\u{1b}"), "{}", entry.name);
        let nameless = Refused { name: None, ..login("") };
        assert_eq!(book.note(&nameless, at(0), Instant::now()).unwrap().0.name, "10.0.0.7");
    }
}
