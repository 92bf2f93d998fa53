use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use afferent_host::stop::{self, StopSender};

use super::*;

fn supervisor() -> (Supervisor, StopSender) {
    let (switch, stopping) = stop::channel();
    (Supervisor::new(Arc::default(), stopping), switch)
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited 120 s in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_thread_that_panics_makes_the_collector_unhealthy_and_is_started_again() {
    let (supervisor, switch) = supervisor();
    let (runs, stopping) = (Arc::new(AtomicU64::new(0)), supervisor.stopping.clone());
    let body = {
        let runs = Arc::clone(&runs);
        move || {
            assert!(runs.fetch_add(1, Ordering::Relaxed) > 0, "the first run fails");
            wait_until(|| stopping.is_requested());
        }
    };
    let thread = supervisor.thread(Part::Retention, body).unwrap();
    wait_until(|| supervisor.health.parts.trouble().is_some());
    let trouble = supervisor.health.parts.trouble().unwrap();
    assert!(trouble.contains("`retention`") && trouble.contains("the first run fails"), "{trouble}");
    wait_until(|| runs.load(Ordering::Relaxed) == 2);
    assert_eq!(supervisor.health.parts.reports()[0].restarts, 1);
    switch.stop();
    thread.join().unwrap();
}

#[test]
fn a_thread_that_returns_too_early_is_reported_and_one_that_is_done_is_not() {
    let (supervisor, switch) = supervisor();
    supervisor.thread(Part::PostedIds, || {}).unwrap().join().unwrap();
    assert_eq!(supervisor.health.parts.trouble(), None, "its work is done");
    let thread = supervisor.thread(Part::Indexer, || {}).unwrap();
    wait_until(|| supervisor.health.parts.trouble().is_some());
    assert!(supervisor.health.parts.trouble().unwrap().contains(RETURNED));
    switch.stop();
    thread.join().unwrap();
}

#[test]
fn the_end_of_what_the_collector_needs_is_heard_with_its_reason() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (supervisor, _switch) = supervisor();
    let ended = runtime.block_on(async {
        supervisor.task(Part::Web, async { panic!("nobody answers") });
        supervisor.part_ended().await
    });
    assert_eq!(ended.part, Part::Web);
    assert!(ended.to_string().contains("nobody answers"), "{ended}");
    assert_eq!(supervisor.thread_once(Part::Writer, || panic!("again")).unwrap().join().unwrap(), None::<()>);
    assert_eq!(runtime.block_on(supervisor.part_ended()), ended, "the first one is the reason");
    assert!(supervisor.health.parts.reports().iter().all(|report| !report.is_well));
}

#[test]
fn a_part_that_ends_because_another_has_is_not_the_reason() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (supervisor, _switch) = supervisor();
    let (way_in, queue) = std::sync::mpsc::channel::<()>();
    let writer = supervisor.thread_once(Part::Writer, move || queue.recv().is_ok()).unwrap();
    let ended = runtime.block_on(async {
        supervisor.task(Part::Endpoint, async move {
            let _way_in = way_in;
            panic!("the cause");
        });
        supervisor.part_ended().await
    });
    assert_eq!(ended.part, Part::Endpoint, "{ended}");
    assert_eq!(writer.join().unwrap(), Some(false), "the control: the writer's end follows, and was seen");
}

#[test]
fn a_part_that_ends_after_the_order_to_stop_ends_in_time() {
    let (supervisor, switch) = supervisor();
    switch.stop();
    assert_eq!(supervisor.thread_once(Part::Writer, || 7).unwrap().join().unwrap(), Some(7));
    supervisor.thread(Part::Models, || {}).unwrap().join().unwrap();
    assert_eq!(supervisor.health.parts.trouble(), None);
}

#[test]
fn every_part_has_a_name_of_its_own_that_the_system_shows_whole() {
    for (at, part) in Part::ALL.iter().enumerate() {
        assert!(part.name().len() <= 15, "{}", part.name());
        assert!(Part::ALL[..at].iter().all(|before| before.name() != part.name()));
    }
}

/// Files of a folder and those in it.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn nothing_else_starts_a_thread_or_a_task_of_the_collector() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    // The command line's threads are in other processes; connections are tasks of a set that their part watches.
    let is_of_it = |path: &Path| {
        let path = path.strip_prefix(&source).unwrap();
        !path.starts_with("cli") && !path.starts_with("supervise.rs") && !path.to_string_lossy().contains("test")
    };
    let mut spawning = 0;
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let spawns = ["thread::Builder", "thread::spawn", "tokio::spawn("].iter().any(|way| text.contains(way));
        assert!(!spawns || !is_of_it(&path), "{} starts something that nobody watches", path.display());
        spawning += usize::from(spawns);
    }
    assert!(spawning > 0, "the control: the supervisor itself is found");
}

/// The nice value of a part's thread, as the system has it.
fn nice_of(part: Part) -> i64 {
    let (supervisor, switch) = supervisor();
    let (tell, told) = std::sync::mpsc::channel();
    let look = move || {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // The name may contain any character; behind it are numbers, of which nice is the 17th (proc_pid_stat(5)).
        let (_, behind) = stat.rsplit_once(") ").unwrap();
        tell.send(behind.split(' ').nth(16).unwrap().parse().unwrap()).unwrap();
    };
    switch.stop();
    match part.remedy() {
        Remedy::Restart => supervisor.thread(part, look).unwrap().join().unwrap(),
        Remedy::Exit => _ = supervisor.thread_once(part, look).unwrap().join().unwrap(),
    }
    told.recv().unwrap()
}

#[test]
fn followers_of_the_log_have_a_lower_priority_than_its_writer() {
    let own = nice_of(Part::Writer);
    let lower = (own + i64::from(FOLLOWER_NICE)).min(19);
    assert_eq!([Part::Models, Part::Indexer].map(nice_of), [lower; 2]);
    assert_eq!(nice_of(Part::Forward), (own + i64::from(FORWARD_NICE)).min(19));
    assert_eq!(nice_of(Part::Questions), own, "agents wait for its answers");
}
