//! `top`: who is there, how fast events come, and what is lost; live.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use afferent_collector::api::agents::{AgentReport, AgentsReport};
use afferent_collector::line::plain;
use anyhow::Context;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table, TableState};
use rustix::event::{PollFd, PollFlags, poll};

use super::Collector;
use super::agents::lag;
use super::client::Client;

/// How often the collector is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long a key may wait for its effect.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Watch all agents live: state, rates, lag, losses.
#[derive(Debug, clap::Args)]
pub struct Top {
    #[command(flatten)]
    collector: Collector,
}

/// Shows the agents until `q` or Ctrl-C.
pub fn top(args: &Top) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    let mut view = TopView::new(client.base());
    // Once before the screen is taken, so that a wrong address is told in plain words.
    view.apply(Ok(client.agents()?), Duration::ZERO);
    let reports = ask(client);
    end_with_terminal().context("cannot watch the terminal")?;
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let outcome = watch(&mut terminal, &mut view, &reports);
    ratatui::restore();
    outcome
}

/// Ends the process when its terminal is gone, also where SIGHUP is ignored (nohup): there is nobody to show anything
/// to, and reading keys from a terminal that is gone would never come to rest.
fn end_with_terminal() -> std::io::Result<()> {
    // The same that keys are read from.
    let terminal: OwnedFd = if std::io::stdin().is_terminal() {
        std::io::stdin().as_fd().try_clone_to_owned()?
    } else {
        File::open("/dev/tty")?.into()
    };
    let watch = move || loop {
        // Nothing is asked for but what is always told: that the other side is gone.
        let mut watched = [PollFd::new(&terminal, PollFlags::empty())];
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) if watched[0].revents().is_empty() => {}
            _ => std::process::exit(EXIT_HANGUP),
        }
    };
    std::thread::Builder::new().name("terminal".to_owned()).spawn(watch).map(drop)
}

/// What a shell tells of a program that SIGHUP has ended.
const EXIT_HANGUP: i32 = 128 + 1;

/// What the collector says, and how long after the answer before.
type Answer = (Result<AgentsReport, String>, Duration);

/// Asks again and again, on a thread of its own.
fn ask(client: Client) -> Receiver<Answer> {
    let (to, reports) = sync_channel(1);
    std::thread::spawn(move || {
        let mut before = Instant::now();
        loop {
            std::thread::sleep(EVERY);
            let report = client.agents().map_err(|error| error.to_string());
            let now = Instant::now();
            if to.send((report, now - before)).is_err() {
                return;
            }
            before = now;
        }
    });
    reports
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut TopView,
    reports: &Receiver<Answer>,
) -> anyhow::Result<()> {
    loop {
        terminal.draw(|frame| view.draw(frame)).context("cannot write to the terminal")?;
        match reports.try_recv() {
            Ok((report, elapsed)) => view.apply(report, elapsed),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => anyhow::bail!("the thread that polls the collector ended"),
        }
        if event::poll(KEY_WAIT).context("cannot read the keyboard")?
            && let Event::Key(key) = event::read().context("cannot read the keyboard")?
            && key.kind == KeyEventKind::Press
        {
            let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupt || view.key(key.code) == NextStep::Quit {
                return Ok(());
            }
        }
    }
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextStep {
    GoOn,
    Quit,
}

/// The order of the agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AgentOrder {
    Name,
    Rate,
    Lag,
    Lost,
}

/// What is on the screen.
struct TopView {
    base: String,
    report: AgentsReport,
    trouble: Option<String>,
    /// Events a second since the answer before, by agent.
    rates: BTreeMap<String, f64>,
    order: AgentOrder,
    place: TableState,
}

impl TopView {
    fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            report: AgentsReport::default(),
            trouble: None,
            rates: BTreeMap::new(),
            order: AgentOrder::Name,
            place: TableState::default(),
        }
    }

    /// Takes an answer that came `elapsed` after the one before.
    fn apply(&mut self, report: Result<AgentsReport, String>, elapsed: Duration) {
        match report {
            Ok(report) => {
                let before: BTreeMap<&str, u64> =
                    self.report.agents.iter().map(|agent| (agent.name.as_str(), agent.events)).collect();
                let rate = |agent: &AgentReport| {
                    let before = before.get(agent.name.as_str()).copied().unwrap_or(agent.events);
                    let events = agent.events.saturating_sub(before) as f64;
                    if elapsed.is_zero() { 0.0 } else { events / elapsed.as_secs_f64() }
                };
                self.rates = report.agents.iter().map(|agent| (agent.name.clone(), rate(agent))).collect();
                self.report = report;
                self.trouble = None;
            }
            Err(error) => self.trouble = Some(error),
        }
    }

    fn key(&mut self, key: KeyCode) -> NextStep {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return NextStep::Quit,
            KeyCode::Char('n') => self.order = AgentOrder::Name,
            KeyCode::Char('r') => self.order = AgentOrder::Rate,
            KeyCode::Char('l') => self.order = AgentOrder::Lag,
            KeyCode::Char('x') => self.order = AgentOrder::Lost,
            KeyCode::Down | KeyCode::Char('j') => self.place.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.place.select_previous(),
            _ => {}
        }
        NextStep::GoOn
    }

    fn rate(&self, agent: &AgentReport) -> f64 {
        self.rates.get(&agent.name).copied().unwrap_or_default()
    }

    fn ordered(&self) -> Vec<&AgentReport> {
        let mut agents: Vec<&AgentReport> = self.report.agents.iter().collect();
        match self.order {
            AgentOrder::Name => agents.sort_by(|a, b| a.name.cmp(&b.name)),
            AgentOrder::Rate => agents.sort_by(|a, b| self.rate(b).total_cmp(&self.rate(a))),
            AgentOrder::Lag => {
                agents.sort_by(|a, b| b.lag_s.unwrap_or_default().total_cmp(&a.lag_s.unwrap_or_default()))
            }
            AgentOrder::Lost => agents.sort_by_key(|agent| std::cmp::Reverse(agent.lost_events + agent.missing_events)),
        }
        agents
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
        let online = self.report.agents.iter().filter(|agent| agent.state == "online").count();
        let total: f64 = self.rates.values().sum();
        let summary = format!(
            "{}   offsets {} up to {}   {total:.0} events/s   {online} of {} online",
            self.base,
            self.report.log.first,
            self.report.log.end,
            self.report.agents.len()
        );
        frame.render_widget(Line::from(summary), head);
        let rows: Vec<Row<'_>> = self.ordered().into_iter().map(|agent| row(agent, self.rate(agent))).collect();
        let widths = [
            Constraint::Min(12),
            Constraint::Length(8),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(14),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
        ];
        let heading = ["AGENT", "STATE", "EVENTS/S", "LAG", "EVENTS", "LOST", "MISSING", "REFUSED"];
        let heading = Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD));
        let table =
            Table::new(rows, widths).header(heading).row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, body, &mut self.place);
        let foot_line = match &self.trouble {
            Some(trouble) => Line::styled(plain(trouble).into_owned(), Color::Red),
            None => Line::from("sort by n name  r rate  l lag  x lost    q quit"),
        };
        frame.render_widget(foot_line, foot);
    }
}

fn row(agent: &AgentReport, rate: f64) -> Row<'static> {
    let state = match agent.state.as_str() {
        "online" => Style::new().fg(Color::Green),
        "offline" => Style::new().fg(Color::Red),
        _ => Style::new(),
    };
    let count = |count: u64| {
        let style = if count > 0 { Style::new().fg(Color::Red) } else { Style::new() };
        Cell::new(count.to_string()).style(style)
    };
    Row::new([
        Cell::new(plain(&agent.name).into_owned()),
        Cell::new(plain(&agent.state).into_owned()).style(state),
        Cell::new(format!("{rate:.0}")),
        Cell::new(lag(agent.lag_s)),
        Cell::new(agent.events.to_string()),
        count(agent.lost_events),
        count(agent.missing_events),
        count(agent.refused),
    ])
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn report(events: [u64; 2]) -> AgentsReport {
        let json = |name: &str, events: u64| {
            format!(
                r#"{{"name":"{name}","state":"online","state_since":null,"key":null,"last_ingest":null,"lag_s":0.5,
                "events":{events},"lost_events":3,"missing_events":0,"duplicate_batches":0,"early_batches":0,
                "refused":0,"refused_by_reason":{{}},"lanes":[]}}"#
            )
        };
        let agents = [json("a", events[0]), json("b", events[1])].join(",");
        serde_json::from_str(&format!(r#"{{"log":{{"first":0,"end":9}},"agents":[{agents}]}}"#)).unwrap()
    }

    fn screen(view: &mut TopView) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 8)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn rates_are_what_came_between_two_answers() {
        let mut view = TopView::new("http://x");
        view.apply(Ok(report([100, 100])), Duration::ZERO);
        view.apply(Ok(report([100, 300])), Duration::from_secs(2));
        assert_eq!(view.rates["b"], 100.0);
        let text = screen(&mut view);
        for told in ["100 events/s", "2 of 2 online", "500 ms", "offsets 0 up to 9"] {
            assert!(text.contains(told), "{told} is not in\n{text}");
        }
        assert_eq!(view.key(KeyCode::Char('r')), NextStep::GoOn);
        assert_eq!(view.ordered()[0].name, "b");
    }

    #[test]
    fn a_collector_that_went_away_is_told_and_what_was_known_stays() {
        let mut view = TopView::new("http://x");
        view.apply(Ok(report([1, 2])), Duration::ZERO);
        view.apply(Err("connection refused".into()), Duration::from_secs(1));
        let text = screen(&mut view);
        assert!(text.contains("connection refused") && text.contains("online"), "{text}");
        assert_eq!(view.key(KeyCode::Char('q')), NextStep::Quit);
    }
}
