//! Lines from a child's standard output, as the socket takes them, without answers. What a child writes to its standard
//! error goes into the agent's log, see `stderr` beside this.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::intake::input::{Home, Input, Ways};
use crate::intake::sink::{DeviceSink, EventSink};
use crate::intake::stderr;
use crate::intake::take::{LineMetrics, take_lines};
use crate::limits::{LAST_WORDS_MS, RESTART_STABLE_MS, RESTART_WAIT_MS_MAX, RESTART_WAIT_MS_MIN};
use crate::look;
use crate::section::{Key, Value, optional};
use crate::supervise::{Ended, endless};

/// One `[[intake.exec]]`: a child to watch.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// The name of the input in logs and metrics.
    pub name: String,
    /// The program and its arguments, without a shell.
    pub command: Vec<String>,
}

impl ExecConfig {
    fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }
}

/// A child whose program is there.
#[derive(Debug)]
pub struct Exec(ExecConfig);

impl Input for Exec {
    type Section = Vec<ExecConfig>;
    type Config = ExecConfig;
    type Shared = ();

    const REPEATS: bool = true;
    const HELP: &'static str = "A program that prints lines in the socket's format. May be repeated.";
    #[rustfmt::skip]
    const KEYS: &'static [Key] = &[
        optional("name", Value::Text, "\"plc\"", "The name of the input in logs and metrics. Required."),
        optional("command", Value::Texts, "[\"/usr/local/bin/read-plc\", \"--json\"]",
            "The program and its arguments, without a shell. Required."),
    ];

    fn check(section: &Vec<ExecConfig>, _: &Home) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for exec in section {
            if exec.program().is_empty() {
                return Err(format!("`intake.exec.command` of {:?} is empty; name a program", exec.name));
            }
            if !names.insert(&exec.name) {
                return Err(format!(
                    "`intake.exec.name` {:?} is listed twice; give each program a name of its own",
                    exec.name
                ));
            }
        }
        Ok(())
    }

    fn inputs(section: &Vec<ExecConfig>, _: &Home) -> Vec<(String, ExecConfig)> {
        section.iter().map(|exec| (exec.name.clone(), exec.clone())).collect()
    }

    fn look(config: &ExecConfig, _: &Home) -> Result<(), String> {
        can_run(config)
    }

    async fn open(config: &ExecConfig, (): &()) -> Result<Self, String> {
        can_run(config).map(|()| Self(config.clone()))
    }

    async fn run<S: DeviceSink>(self, ways: Ways<S>, stop: Stop) -> Ended {
        let metrics = LineMetrics::new(&ways.registry, &self.0.name);
        run(self.0, ways.sink, ways.clock, metrics, stop.clone()).await;
        endless(&stop)
    }
}

fn can_run(config: &ExecConfig) -> Result<(), String> {
    let (name, program) = (&config.name, config.program());
    if look::is_program(program) {
        return Ok(());
    }
    Err(format!(
        "the child {name} cannot be run: {program} is not an executable program; correct `intake.exec.command`"
    ))
}

/// Runs the child until the agent stops; starts it again, each time later, when it ends.
pub async fn run<S: EventSink>(
    settings: ExecConfig,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: LineMetrics,
    mut stop: Stop,
) {
    let name = &settings.name;
    let kind = format!("child {name}");
    let mut wait_ms = RESTART_WAIT_MS_MIN;
    loop {
        let started = Instant::now();
        let mut child = std::pin::pin!(one_run(&settings, &sink, &clock, &metrics));
        let ended = tokio::select! {
            () = stop.requested() => return,
            ended = &mut child => ended,
            () = tokio::time::sleep(Duration::from_millis(RESTART_STABLE_MS)) => {
                metrics.troubles.ends(&kind);
                tokio::select! {
                    () = stop.requested() => return,
                    ended = child => ended,
                }
            }
        };
        let seconds = wait_ms / 1000;
        match ended {
            // As programs do that look once and end.
            Ok(status) if status.success() => {
                metrics.troubles.ends(&kind);
                metrics
                    .troubles
                    .log(&kind, format!("the child {name} has exited; the agent starts it again in {seconds} s"));
            }
            Ok(status) => metrics.troubles.begins(
                &kind,
                format!(
                    "the child {name} has exited ({status}); the agent starts it again in {seconds} s; check its output"
                ),
            ),
            Err(error) => metrics.troubles.begins(
                &kind,
                format!(
                    "the child {name} cannot be run: {}: {error}; correct `intake.exec.command`; the agent retries in \
                     {seconds} s",
                    settings.program()
                ),
            ),
        }
        if started.elapsed() >= Duration::from_millis(RESTART_WAIT_MS_MAX) {
            wait_ms = RESTART_WAIT_MS_MIN;
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
        }
        wait_ms = (wait_ms * 2).min(RESTART_WAIT_MS_MAX);
    }
}

async fn one_run<S: EventSink>(
    settings: &ExecConfig,
    sink: &S,
    clock: &Arc<dyn Clock>,
    metrics: &LineMetrics,
) -> io::Result<std::process::ExitStatus> {
    let (program, arguments) =
        settings.command.split_first().ok_or_else(|| io::Error::other("`command` is empty; name a program"))?;
    let mut child: Child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().expect("the child's output was piped above");
    let errors = child.stderr.take().expect("so were its errors");
    let mut lines = std::pin::pin!(async {
        take_lines(output, sink, clock, metrics).await?;
        child.wait().await
    });
    let mut errors = std::pin::pin!(stderr::log(&settings.name, errors));
    tokio::select! {
        ended = &mut lines => {
            // Why it has ended is often the last that it writes. A child of the child may hold that end open.
            let _ = tokio::time::timeout(Duration::from_millis(LAST_WORDS_MS), errors).await;
            ended
        }
        () = &mut errors => lines.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::intake::sink::Waiting;
    use crate::intake::sink::fake::FakeSink;
    use crate::metrics::Registry;

    fn settings(script: &str) -> ExecConfig {
        ExecConfig { name: "probe".to_owned(), command: ["sh", "-c", script].map(str::to_owned).to_vec() }
    }

    #[tokio::test]
    async fn a_childs_lines_are_taken_and_bad_ones_counted() {
        let sink = FakeSink::committing();
        let registry = Registry::default();
        let metrics = LineMetrics::new(&registry, "probe");
        let (sender, stop) = afferent_host::stop::channel();
        let script =
            r#"echo '{"subject":"a","value":1}'; echo bad; echo; printf '{"subject":"a","value":2}'; exec sleep 1000"#;
        let running =
            tokio::spawn(run(settings(script), sink.clone(), Arc::new(SystemClock::new()), metrics.clone(), stop));
        sink.taken(1).await;
        sender.stop();
        running.await.unwrap();
        assert_eq!(sink.events()[0].1, Waiting::Nobody);
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_ends_is_started_again() {
        let sink = FakeSink::committing();
        let metrics = LineMetrics::new(&Registry::default(), "probe");
        let (sender, stop) = afferent_host::stop::channel();
        let script = r#"echo '{"subject":"a","value":1}'"#;
        let running = tokio::spawn(run(settings(script), sink.clone(), Arc::new(SystemClock::new()), metrics, stop));
        sink.taken(3).await;
        sender.stop();
        running.await.unwrap();
    }
}
