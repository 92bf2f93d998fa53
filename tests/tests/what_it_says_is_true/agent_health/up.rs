//! `afferent-collector up` runs both, and goes on without neither.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;

use afferent_tests::process::{Folder, PATIENCE, Process, binary, free_address, get, get_text, wait_for};

use super::{accepts, plant};

#[test]
fn up_ends_with_the_reason_when_its_agent_has_died_and_goes_on_when_a_task_of_it_is_started_again() {
    // Nothing can be planted in a release.
    if !cfg!(debug_assertions) {
        return;
    }
    let folder = Folder::new("up");
    let (planted, http, mqtt) = (folder.join("panic"), free_address(), free_address());
    let (data, log) = (folder.join("data"), folder.join("up.log"));
    let mut command = Command::new(binary("afferent-collector"));
    command.arg("up").arg("--data").arg(&data).args(["--mqtt", &mqtt.to_string(), "--http", &http.to_string()]);
    command.env("AFFERENT_PANIC_FILE", &planted);
    let mut up = Process::start("up", &mut command, &log);
    wait_for("the collector answers", || get(http, "/healthz").ok());
    let connect = || UnixStream::connect(data.join("agent.sock")).ok();
    let mut producer = wait_for("the agent's socket takes connections", connect);
    producer.set_read_timeout(Some(PATIENCE)).expect("a time can be set");
    let is_logged = |code: &str| get_text(http, "/v1/events?from=0&type=breakdown")?.contains(code).then_some(());

    // The control: what can be started again ends nothing.
    plant(&planted, "autonomy");
    wait_for("it is said", || up.printed().contains("autonomy: it has panicked").then_some(()));
    accepts(&mut producer, "behind-a-task").expect("the agent goes on");
    wait_for("the event is in the log", || is_logged("behind-a-task"));
    assert!(up.is_running());

    plant(&planted, "ring-writer");
    // A writer that waits for nothing else wakes with the next event, which is not accepted any more.
    let _ = writeln!(producer, "{{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"too-late\"}}");
    let status = up.wait();
    let printed = std::fs::read_to_string(&log).expect("it has a log");
    assert!(!status.success(), "whoever started it is to see that it has failed: {printed}");
    let reason = "ring-writer: it has panicked (planted in ring-writer)";
    let last = printed.lines().last().unwrap_or_default();
    assert!(last.starts_with("afferent-collector: ") && last.contains(reason), "{printed}");
    // What was accepted before is in the log, and the next start goes on with both.
    let up = Process::start("up", command.env_remove("AFFERENT_PANIC_FILE"), &log);
    wait_for("the event is in the log", || is_logged("behind-a-task"));
    let mut producer = wait_for("the agent's socket takes connections", connect);
    producer.set_read_timeout(Some(PATIENCE)).expect("a time can be set");
    accepts(&mut producer, "anew").expect("the agent is there");
    wait_for("the event is in the log", || is_logged("anew"));
    assert!(up.terminate().success());
}
